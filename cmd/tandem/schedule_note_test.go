package main

import (
	"fmt"
	"testing"

	"github.com/tandem-sync/tandem/store"
)

func TestScheduleText(t *testing.T) {
	t.Parallel()
	channel := func(name, settings string, enabled bool) store.Channel {
		return store.Channel{Name: name, Settings: []byte(settings), Enabled: enabled}
	}
	var many []store.Channel
	for n := range 8 {
		many = append(many, channel(fmt.Sprint("c", n), `{"schedule":"@hourly"}`, true))
	}
	for want, list := range map[string][]store.Channel{
		"nothing starts by itself: there is no channel yet":                                                           nil,
		"nothing starts by itself: the schedule of 1 channel is off, or the channel is disabled":                      {channel("a", `{}`, false)},
		"starts by itself: a (every 5 minutes), b (*/10 * * * *); 2 channels off or disabled":                         {channel("a", `{}`, true), channel("b", `{"schedule":"*/10 * * * *"}`, true), channel("c", `{"schedule":"off"}`, true), channel("d", `{}`, false)},
		"starts by itself: c0 (@hourly), c1 (@hourly), c2 (@hourly), c3 (@hourly), c4 (@hourly), and 3 channels more": many,
	} {
		got, err := scheduleText(list)
		if err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}
