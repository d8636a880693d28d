package config

import (
	"encoding/json"
	"fmt"
)

// StoredSchedule reads the schedule from a channel's stored settings, as the
// file spells it: "" is the default. A channel of operations only has none: "off".
func StoredSchedule(settings json.RawMessage) (string, error) {
	var s struct {
		Schedule   string             `json:"schedule"`
		Connectors *[]json.RawMessage `json:"connectors"`
	}
	if err := json.Unmarshal(settings, &s); err != nil {
		return "", fmt.Errorf("stored settings: %w", err)
	}
	if s.Connectors != nil && len(*s.Connectors) == 0 {
		return ScheduleOff, nil // only operations: a sync would have nothing to do
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
