package config_test

import (
	"testing"

	"github.com/tandem-sync/tandem/config"
)

func TestStoredSchedule(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{`{"type":"rest"}`: "every 5 minutes", `{"schedule":"off"}`: "off", `{"schedule":"@hourly"}`: "@hourly"} {
		got, err := config.StoredSchedule([]byte(in))
		if err != nil || config.ScheduleText(got) != want {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
	}
	if _, err := config.StoredSchedule([]byte(`x`)); err == nil {
		t.Error("nonsense was read")
	}
}
