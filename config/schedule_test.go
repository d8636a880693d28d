package config

import "testing"

func TestStoredSchedule(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string]string{
		`{}`:                       "",
		`{"schedule":"@every 1m"}`: "@every 1m",
		`{"schedule":"@every 1m","connectors":[{}]}`:                 "@every 1m",
		`{"schedule":"@every 1m","connectors":[],"operations":[{}]}`: ScheduleOff,
		`{"connectors":[],"operations":[{}]}`:                        ScheduleOff,
	} {
		if got, err := StoredSchedule([]byte(settings)); err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", settings, got, err, want)
		}
	}
	if _, err := StoredSchedule([]byte(`[`)); err == nil {
		t.Error("no error of settings that cannot be read")
	}
}
