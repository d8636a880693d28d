package config

import (
	"encoding/json"
	"fmt"
)

// StoredSchedule reads the schedule from a channel's stored settings, as the
// file spells it: "" is the default.
func StoredSchedule(settings json.RawMessage) (string, error) {
	var s struct {
		Schedule string `json:"schedule"`
	}
	if err := json.Unmarshal(settings, &s); err != nil {
		return "", fmt.Errorf("stored settings: %w", err)
	}
	return s.Schedule, nil
}

// ScheduleText says in words when a channel with such a schedule starts by
// itself.
func ScheduleText(schedule string) string {
	if schedule == "" {
		return "every 5 minutes"
	}
	return schedule
}
