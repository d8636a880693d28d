package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/transport/settings"
)

func (c *checker) channels() {
	seen := map[string]string{}
	for i := range c.file.Channels {
		ch := &c.file.Channels[i]
		at := fmt.Sprintf("channels[%d]", i)
		c.name(at+".name", ch.Name, seen)
		if why := badSchedule(ch.Schedule); ch.Schedule != "" && why != "" {
			c.fault(at+".schedule", why, `write five fields such as "*/5 * * * *", "@every 30s" or "off"`)
		}
		if len(ch.Connectors) == 0 && len(ch.Operations) == 0 && !c.bringsOperations(ch.Type) {
			c.fault(at+".connectors", "the channel has no connector", "add at least one connector")
		}
		names := map[string]string{}
		for k := range ch.Connectors {
			c.connector(fmt.Sprintf("%s.connectors[%d]", at, k), &ch.Connectors[k], names)
		}
		c.refs(at, ch)
		c.channelType(at, ch)
	}
}

// bringsOperations reports whether channels of the type have operations of their
// own, so that one without connectors is of use.
func (c *checker) bringsOperations(typ string) bool {
	t, err := c.reg.Get(typ)
	return err == nil && len(t.Info().Operations) > 0
}

// channelType asks the channel's type about the settings that it owns.
func (c *checker) channelType(at string, ch *Channel) {
	if ch.Type == "" {
		c.fault(at+".type", "is missing", "one of "+strings.Join(c.typeNames(), ", "))
		return
	}
	t, err := c.reg.Get(ch.Type)
	if err != nil {
		fix := "known types: " + strings.Join(c.typeNames(), ", ")
		if near := settings.Nearest(strings.ToLower(ch.Type), c.typeNames()); near != "" {
			fix = "did you mean " + near + "? " + fix
		}
		c.fault(at+".type", fmt.Sprintf("there is no channel type %q", ch.Type), fix)
		return
	}
	if len(ch.Operations) > 0 && !slices.Contains(t.Info().Capabilities, channels.CapabilityOperations) {
		c.fault(at+".operations", fmt.Sprintf("type %s brings its own operations", ch.Type), "leave operations out; `tandem types show "+ch.Type+"` lists what there is")
	}
	for _, p := range t.Check(ch.Settings(c.file.Guard())) {
		c.fault(join(at, p.Field), p.Message, p.Fix)
	}
}

func (c *checker) typeNames() []string {
	var names []string
	for _, t := range c.reg.All() {
		names = append(names, t.Info().Name)
	}
	return names
}

func (c *checker) connector(at string, k *Connector, names map[string]string) {
	c.name(at+".name", k.Name, names)
	c.entityRef(at+".entity", k.Entity)
	c.ways(at, k)
	if why := badSchedule(k.Full); why != "" {
		c.fault(at+".full", why, `write "@daily", five fields such as "0 3 * * *", or "off"`)
	}
	_, problems := mapping.Compile(k.Spec(), nil)
	for _, p := range problems {
		c.fault(join(at, p.Field), p.Message, p.Fix)
	}
}

func (c *checker) entityRef(at, name string) {
	if name == "" {
		c.fault(at, "is missing", "name an entity of entities:")
		return
	}
	known := make([]string, 0, len(c.file.Entities))
	for _, e := range c.file.Entities {
		if e.Name == name {
			return
		}
		known = append(known, e.Name)
	}
	fix := "declare it under entities:"
	if near := settings.Nearest(name, known); near != "" {
		fix = "did you mean " + near + "?"
	} else if len(known) > 0 {
		fix += "; known: " + strings.Join(known, ", ")
	}
	c.fault(at, fmt.Sprintf("there is no entity %q", name), fix)
}

// badSchedule says what is wrong with a schedule, or "".
func badSchedule(s string) string {
	if s == ScheduleOff {
		return ""
	}
	// The parser of cron panics on a time zone without fields after it.
	if zone := strings.HasPrefix(s, "TZ=") || strings.HasPrefix(s, "CRON_TZ="); zone && !strings.Contains(s, " ") {
		return fmt.Sprintf("%q is no schedule: it has a time zone only", s)
	}
	if _, err := cron.ParseStandard(s); err != nil {
		return fmt.Sprintf("%q is no schedule: %s", s, err)
	}
	if every, ok := strings.CutPrefix(s, "@every "); ok && !atLeastASecond(every) {
		return fmt.Sprintf("%q is no schedule: it must be at least a second", s)
	}
	return ""
}

// atLeastASecond reports whether s is a duration of one second or more; cron
// itself would round anything below up, a negative one too.
func atLeastASecond(s string) bool {
	d, err := time.ParseDuration(s)
	return err == nil && d >= time.Second
}
