package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/workers"
)

// channelFor bounds the test of one channel.
const channelFor = time.Minute

// subject is a channel to look at.
type subject struct {
	config *config.Channel
	stored bool
}

// channels looks at every channel: those that are stored as they are stored,
// for that is what runs, and those of the file that are not.
func (d *doctor) channels(ctx context.Context, db *store.DB) {
	stored := d.storedConfig(ctx, db)
	known := stored.Entities
	for _, e := range d.cfg.File.Entities {
		if !slices.ContainsFunc(known, func(k config.Entity) bool { return k.Name == e.Name }) {
			known = append(known, e)
		}
	}
	for _, name := range sorted(stored.Unreadable) {
		c := failed(AreaChannel, name, "configuration", stored.Unreadable[name])
		if c.Fix == "" {
			c.Fix = "set the secret_key that the channel was stored with, or apply the file again"
		}
		d.say(c)
	}
	list := make([]subject, 0, len(stored.Channels))
	for i := range stored.Channels {
		list = append(list, subject{&stored.Channels[i], true})
	}
	for i := range d.cfg.File.Channels {
		c := &d.cfg.File.Channels[i]
		if _, bad := stored.Unreadable[c.Name]; bad || slices.ContainsFunc(list, func(s subject) bool { return s.config.Name == c.Name }) {
			continue
		}
		d.say(Check{
			Area: AreaChannel, Subject: c.Name, Check: "stored", Status: Warn, Message: "the channel is in the file only",
			Fix: "`tandem apply` stores it; an embedded `tandem run` does so when it starts",
		})
		if len(d.cfg.Problems) == 0 {
			list = append(list, subject{c, false})
		}
	}
	if len(list) == 0 {
		d.say(Check{Area: AreaChannel, Check: "stored", Status: Warn, Message: "no channel can be looked at", Fix: "`tandem init rest` writes a file to begin with"})
	}
	for _, s := range list {
		if db != nil {
			d.tables(ctx, db, known, s)
		}
		if stored.Disabled[s.config.Name] {
			d.say(Check{Area: AreaChannel, Subject: s.config.Name, Check: "enabled", Status: Warn, Message: "the channel is disabled", Fix: "tandem channels enable " + s.config.Name})
		}
		d.remote(ctx, s)
	}
}

func sorted(m map[string]error) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// tables checks the users' tables that a channel's connectors write.
func (d *doctor) tables(ctx context.Context, db *store.DB, known []config.Entity, s subject) {
	ctx, cancel := context.WithTimeout(ctx, databaseFor)
	defer cancel()
	list, err := workers.CheckTables(ctx, db, known, s.config)
	if err != nil {
		d.say(failed(AreaDatabase, s.config.Name, "table", err))
		return
	}
	for _, t := range list {
		check := "table " + t.Table
		if t.Err != nil {
			c := failed(AreaDatabase, s.config.Name, check, t.Err)
			if c.Fix == usual[AreaDatabase] {
				c.Fix = "make the table fit, or correct the entity and the mapping of connector " + t.Connector + ", then apply them"
			}
			if !s.stored && willCreate(known, t.Table) {
				c.Status, c.Message, c.Fix = OK, "the table is made when the file is applied", ""
			}
			d.say(c)
			continue
		}
		if len(t.Lacking) > 0 {
			d.say(Check{
				Area: AreaDatabase, Subject: s.config.Name, Check: check, Status: Fail,
				Message: "the user lacks " + strings.Join(t.Lacking, ", "), Fix: strings.Join(t.Grants, "; "),
			})
		} else {
			d.say(Check{Area: AreaDatabase, Subject: s.config.Name, Check: check, Status: OK, Message: "has the columns and permissions that connector " + t.Connector + " needs"})
		}
		for _, x := range t.Indexes {
			d.say(Check{Area: AreaDatabase, Subject: s.config.Name, Check: "index " + t.Table, Status: Warn, Message: x.Why, Fix: x.SQL})
		}
	}
}

func willCreate(known []config.Entity, table string) bool {
	return slices.ContainsFunc(known, func(e config.Entity) bool { return e.Table == table && len(e.Create) > 0 })
}

// remote tries the channel's remote in stages.
func (d *doctor) remote(ctx context.Context, s subject) {
	ctx, cancel := context.WithTimeout(ctx, channelFor)
	defer cancel()
	var stages []workers.TestStage
	var err error
	if s.stored && d.cfg.Test != nil {
		stages, err = d.cfg.Test(ctx, s.config.Name)
	} else {
		stages, err = workers.TestConfigured(ctx, d.cfg.Registry, d.cfg.File.Guard(), s.config)
	}
	if err != nil {
		d.say(failed(AreaChannel, s.config.Name, "open", err))
		return
	}
	for _, st := range stages {
		c := Check{Area: AreaChannel, Subject: s.config.Name, Check: st.Stage, Status: OK, Message: st.Message, Fix: st.Hint}
		switch {
		case !st.OK:
			c.Status = Fail
			if c.Fix == "" {
				c.Fix = fmt.Sprintf("correct channel %s, then `tandem channels test %s`", s.config.Name, s.config.Name)
			}
		case st.Warn:
			c.Status = Warn
		default:
			c.Fix = ""
		}
		d.say(c)
	}
}
