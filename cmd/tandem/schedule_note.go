package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/store"
)

// notedChannels is how many channels the start of the service names.
const notedChannels = 5

// scheduleNote says on start what will start by itself: silence would look like
// a fault.
func (e *engine) scheduleNote(ctx context.Context) (string, error) {
	if !e.roles.scheduler {
		return "this process starts no run by itself: it does not have the role scheduler", nil
	}
	var list []store.Channel
	err := e.db.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		list, err = tx.Channels(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	return scheduleText(list)
}

func scheduleText(list []store.Channel) (string, error) {
	var on []string
	off := 0
	for _, c := range list {
		schedule, err := config.StoredSchedule(c.Settings)
		if err != nil {
			return "", fmt.Errorf("channel %s: %w", c.Name, err)
		}
		if schedule == config.ScheduleOff || !c.Enabled {
			off++
			continue
		}
		on = append(on, fmt.Sprintf("%s (%s)", c.Name, config.ScheduleText(schedule)))
	}
	switch {
	case len(list) == 0:
		return "nothing starts by itself: there is no channel yet", nil
	case len(on) == 0:
		return fmt.Sprintf("nothing starts by itself: the schedule of %s is off, or the channel is disabled", channelsText(off)), nil
	}
	text := "starts by itself: "
	if more := len(on) - notedChannels; more > 0 {
		text += strings.Join(on[:notedChannels], ", ") + ", and " + channelsText(more) + " more"
	} else {
		text += strings.Join(on, ", ")
	}
	if off > 0 {
		text += fmt.Sprintf("; %s off or disabled", channelsText(off))
	}
	return text, nil
}

func channelsText(n int) string {
	if n == 1 {
		return "1 channel"
	}
	return fmt.Sprint(n, " channels")
}
