// Package logging makes the program's logger. Logs go to standard error, never
// to standard output: that belongs to a command's result.
package logging

import (
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Format says how a log line looks.
type Format string

// The formats: a line for people, or one JSON object a line for collectors.
const (
	Text Format = "text"
	JSON Format = "json"
)

// ParseFormat reads a format's name; "" gives otherwise.
func ParseFormat(s string, otherwise Format) (Format, error) {
	switch f := Format(s); f {
	case "":
		return otherwise, nil
	case Text, JSON:
		return f, nil
	}
	return "", fmt.Errorf("log format %q: want text or json", s)
}

// New makes a logger that writes to w lines at or above level (debug, info,
// warn, error; "" means info). Times are UTC with milliseconds. It does not
// sample and never writes a stack trace: errors carry their own context.
func New(w io.Writer, format Format, level string) (*zap.Logger, error) {
	var lvl zapcore.Level
	if level == "" {
		level = "info"
	}
	if err := lvl.UnmarshalText([]byte(level)); err != nil || lvl > zapcore.ErrorLevel {
		return nil, fmt.Errorf("log level %q: want debug, info, warn or error", level)
	}
	ec := zap.NewProductionEncoderConfig()
	ec.EncodeTime = zapcore.TimeEncoderOfLayout("2006-01-02T15:04:05.000Z07:00")
	ec.EncodeDuration = zapcore.StringDurationEncoder
	ec.TimeKey, ec.MessageKey = "time", "msg"
	enc := zapcore.NewJSONEncoder(ec)
	if format == Text {
		ec.EncodeLevel = zapcore.CapitalLevelEncoder
		ec.ConsoleSeparator = " "
		enc = zapcore.NewConsoleEncoder(ec)
	}
	core := zapcore.NewCore(enc, zapcore.Lock(zapcore.AddSync(w)), lvl)
	return zap.New(core, zap.WithClock(utc{zapcore.DefaultClock})), nil
}

// utc is a zap clock that tells UTC.
type utc struct{ zapcore.Clock }

// Now is the current time in UTC.
func (c utc) Now() time.Time { return c.Clock.Now().UTC() }
