// Package doctor looks a deployment over: configuration, database, broker and
// channels. Each finding says what to do about it. It changes nothing.
package doctor

import (
	"context"
	"strings"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/seal"
	"github.com/tandem-sync/tandem/workers"
)

// Status is the outcome of a check.
type Status string

// The outcomes.
const (
	OK   Status = "ok"
	Warn Status = "warn" // it works, and should be looked at
	Fail Status = "fail" // it does not work
)

// The areas of checks.
const (
	AreaConfiguration = "configuration"
	AreaDatabase      = "database"
	AreaBroker        = "broker"
	AreaChannel       = "channel"
)

// Check is one finding.
type Check struct {
	Area    string `json:"area"`
	Subject string `json:"subject"` // the channel's name, a file; "" the area as a whole
	Check   string `json:"check"`   // a stable name within the area
	Status  Status `json:"status"`
	Message string `json:"message"`
	Fix     string `json:"fix"` // what to do; "" when nothing is
	// Unavailable says that a needed service could not be reached or is too old.
	Unavailable bool `json:"unavailable,omitempty"`
}

// Config is what to look at.
type Config struct {
	File *config.File
	// Problems are those found in the file.
	Problems config.Problems
	// Keys opens stored secrets; nil where there is no key.
	Keys *seal.Keyring
	// KeyErr says why there is no key though one is needed.
	KeyErr   error
	Registry *channels.Registry
	// Test tries a stored channel; nil tries them from here, which cannot keep a
	// token that is renewed meanwhile.
	Test func(ctx context.Context, name string) ([]workers.TestStage, error)
}

// Summary counts the findings.
type Summary struct {
	OK, Warn, Fail int
	// Unavailable counts the failures of needed services.
	Unavailable int
}

// doctor carries one examination.
type doctor struct {
	cfg  Config
	emit func(Check) error
	sum  Summary
	err  error // of emit; the first one
}

// Examine looks at everything and calls emit with each finding as it comes. The
// error is emit's.
func Examine(ctx context.Context, cfg Config, emit func(Check) error) (Summary, error) {
	d := &doctor{cfg: cfg, emit: emit}
	d.configuration()
	db := d.openDatabase(ctx)
	if db != nil {
		d.database(ctx, db)
	}
	d.broker(ctx)
	d.channels(ctx, db)
	if db != nil {
		d.captures(ctx, db)
		_ = db.Close() // it was only read
	}
	return d.sum, d.err
}

func (d *doctor) say(c Check) {
	switch c.Status {
	case OK:
		d.sum.OK++
	case Warn:
		d.sum.Warn++
	case Fail:
		d.sum.Fail++
		if c.Unavailable {
			d.sum.Unavailable++
		}
	}
	if d.err == nil {
		d.err = d.emit(c)
	}
}

// usual is what to do where an error does not say better.
var usual = map[string]string{
	AreaConfiguration: "correct the file, then `tandem validate`",
	AreaDatabase:      "correct it, or what the configuration says about it, then look again",
	AreaBroker:        "check the broker's log and the URL in `broker:`",
	AreaChannel:       "correct the channel's settings, then apply them",
}

// failed makes a check of an error: what its code says about services is kept.
func failed(area, subject, check string, err error) Check {
	c := Check{Area: area, Subject: subject, Check: check, Status: Fail, Message: err.Error(), Fix: fault.HintOf(err)}
	if c.Fix == "" {
		c.Fix = usual[area]
	}
	switch fault.CodeOf(err) {
	case fault.CodeUnreachable, fault.CodeSchemaOld, fault.CodeSchemaNew, fault.CodeLocked:
		c.Unavailable = area == AreaDatabase || area == AreaBroker
	}
	return c
}

func (d *doctor) configuration() {
	name := d.cfg.File.Path
	if name == "" {
		name = "(defaults)"
	}
	for _, p := range d.cfg.Problems {
		text := strings.TrimSuffix(p.String(), "; "+p.Fix)
		d.say(Check{Area: AreaConfiguration, Subject: name, Check: "file", Status: Fail, Message: text, Fix: p.Fix})
	}
	if len(d.cfg.Problems) == 0 {
		d.say(Check{Area: AreaConfiguration, Subject: name, Check: "file", Status: OK, Message: "the configuration is valid"})
	}
	if d.cfg.KeyErr != nil {
		d.say(failed(AreaConfiguration, name, "secret_key", d.cfg.KeyErr))
	}
}

// sqlitePath gives the file of a SQLite database.
func sqlitePath(database string) (string, bool) { return strings.CutPrefix(database, "sqlite:") }

// embedded is the broker inside the process.
const embedded = "embedded"

// storedConfig reads the stored channels; without a database or schema there are
// none.
func (d *doctor) storedConfig(ctx context.Context, db *store.DB) workers.StoredView {
	if db == nil || db.CheckSchema(ctx) != nil {
		return workers.StoredView{}
	}
	s, err := workers.ReadStored(ctx, db, d.cfg.Keys)
	if err != nil {
		d.say(failed(AreaDatabase, "", "configuration", err))
	}
	return s
}
