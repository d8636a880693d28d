package logging_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/internal/logging"
)

func TestNewWritesJSONLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := logging.New(&out, logging.JSON, "info")
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("too quiet")
	log.Info("hello", zap.Int("run", 7), zap.Duration("took", 1500*time.Millisecond))
	var line struct {
		Time  time.Time
		Level string
		Msg   string
		Run   int
		Took  string
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%q: %v", out.String(), err)
	}
	if line.Msg != "hello" || line.Run != 7 || line.Level != "info" || line.Took != "1.5s" {
		t.Errorf("line = %+v", line)
	}
	if line.Time.Location() != time.UTC || time.Since(line.Time) > time.Minute {
		t.Errorf("time = %v, want now in UTC", line.Time)
	}
}

func TestNewWritesText(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := logging.New(&out, logging.Text, "warn")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("too quiet")
	log.Warn("look", zap.String("channel", "crm"))
	if got := out.String(); !strings.Contains(got, ` WARN look {"channel": "crm"}`) || strings.Count(got, "\n") != 1 {
		t.Errorf("got %q", got)
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"loud", "fatal", "panic"} {
		if _, err := logging.New(&bytes.Buffer{}, logging.Text, level); err == nil {
			t.Errorf("level %q was accepted", level)
		}
	}
	if _, err := logging.ParseFormat("xml", logging.Text); err == nil {
		t.Error("format xml was accepted")
	}
	if f, err := logging.ParseFormat("", logging.JSON); err != nil || f != logging.JSON {
		t.Errorf("format of nothing = %q, %v", f, err)
	}
}
