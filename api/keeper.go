package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// ChannelKeeper switches channels on and off and deletes them.
type ChannelKeeper interface {
	// EnableChannel switches a channel on: it is synchronized at once, unless its
	// schedule is off, and by its schedule from then on.
	EnableChannel(ctx context.Context, name string) (Channel, error)
	// DisableChannel switches a channel off. Planned runs are cancelled at once,
	// those under way end at their next safe point, within seconds.
	DisableChannel(ctx context.Context, name string) (Channel, error)
	// DeleteChannel deletes a channel with its links, watermarks, requests, runs
	// and parked items, and gives what it was. No row of a user's table goes.
	DeleteChannel(ctx context.Context, name string) (Channel, error)
}

// EnableChannel switches a channel on.
func (s *Service) EnableChannel(ctx context.Context, name string) (Channel, error) {
	if err := s.noticed(ctx, name); err != nil {
		return Channel{}, err
	}
	return s.setEnabled(ctx, name, true)
}

// noticed sees to it that local changes are noticed before a channel that writes to
// its remote is switched on: somebody may have taken the triggers away meanwhile,
// or made the table anew. Where that cannot be done, the channel stays off.
func (s *Service) noticed(ctx context.Context, name string) error {
	d, err := s.desk()
	if err != nil {
		return nil //nolint:nilerr // nobody here can look at tables; doctor does
	}
	names, err := s.outwardEntities(ctx, name)
	if err != nil || len(names) == 0 {
		return err
	}
	err = d.RefreshCaptures(ctx, names)
	if fault.CodeOf(err) != fault.CodeConfig {
		return err
	}
	return fault.New(fault.Permanent, fault.CodeConflict, "", "channel %s stays off, because local changes would not be noticed: %w", name, err).
		WithHint(cmp.Or(fault.HintOf(err), "`tandem capture install "+names[0]+"` says more"))
}

// outwardEntities are the entities whose values a channel writes to its remote.
func (s *Service) outwardEntities(ctx context.Context, name string) (names []string, err error) {
	err = s.read(ctx, func(ctx context.Context, tx *store.Tx) error {
		names = nil
		c, err := findChannel(ctx, tx, name)
		if err != nil {
			return err
		}
		list, err := tx.Connectors(ctx, c.ID)
		for _, k := range list {
			if k.Outward && !slices.Contains(names, k.Entity) {
				names = append(names, k.Entity)
			}
		}
		return err
	})
	return names, err
}

// DisableChannel switches a channel off.
func (s *Service) DisableChannel(ctx context.Context, name string) (Channel, error) {
	return s.setEnabled(ctx, name, false)
}

func (s *Service) setEnabled(ctx context.Context, name string, on bool) (Channel, error) {
	var out Channel
	err := s.write(ctx, "enable channel", func(ctx context.Context, tx *store.Tx) error {
		c, err := findChannel(ctx, tx, name)
		if err != nil {
			return err
		}
		if err := tx.SetChannelEnabled(ctx, c.ID, on); err != nil {
			return err
		}
		if !on {
			if err := tx.CancelRuns(ctx, c.ID); err != nil {
				return err
			}
		}
		if c, err = tx.Channel(ctx, c.ID); err != nil {
			return err
		}
		out, err = s.channel(ctx, tx, c)
		return err
	})
	if err == nil && s.fleet != nil {
		s.fleet.Kick()
	}
	return out, err
}

// How many links and runs one transaction of a deletion takes, so that it stays
// within a second.
const (
	dropLinks = 5000
	dropRuns  = 500
)

// DeleteChannel deletes a channel in steps. What it did not get to is done by
// calling it again.
func (s *Service) DeleteChannel(ctx context.Context, name string) (Channel, error) {
	var out Channel
	var id int64
	watched, err := s.outwardEntities(ctx, name)
	if err != nil {
		return out, err
	}
	err = s.write(ctx, "retire channel", func(ctx context.Context, tx *store.Tx) error {
		c, err := findChannel(ctx, tx, name)
		if err != nil {
			return err
		}
		id = c.ID
		if out, err = s.channel(ctx, tx, c); err != nil {
			return err
		}
		return tx.RetireChannel(ctx, id)
	})
	if err == nil {
		err = s.drop(ctx, func(ctx context.Context, tx *store.Tx) (int64, error) { return tx.DropLinks(ctx, id, dropLinks) })
	}
	if err == nil {
		err = s.drop(ctx, func(ctx context.Context, tx *store.Tx) (int64, error) { return tx.DropRuns(ctx, id, dropRuns) })
	}
	if err == nil {
		err = s.write(ctx, "delete channel", func(ctx context.Context, tx *store.Tx) error { return tx.DeleteChannel(ctx, id) })
	}
	if d, e := s.desk(); err == nil && e == nil && len(watched) > 0 {
		// Columns that only this channel wanted to hear of need no watching. Where it
		// does not work, more is noticed than anybody wants, and doctor says so.
		_ = d.RefreshCaptures(ctx, watched) //nolint:errcheck // see above
	}
	return out, err
}

// drop repeats a step until it finds nothing more.
func (s *Service) drop(ctx context.Context, step func(context.Context, *store.Tx) (int64, error)) error {
	for n := int64(1); n > 0; {
		err := s.write(ctx, "delete channel", func(ctx context.Context, tx *store.Tx) (err error) {
			n, err = step(ctx, tx)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// schedule tells when a channel runs next.
func (s *Service) schedule(ctx context.Context, tx *store.Tx, c store.Channel, out *Channel) error {
	text, err := config.StoredSchedule(c.Settings)
	if err != nil {
		return err
	}
	out.Schedule = config.ScheduleText(text)
	all, err := tx.Schedules(ctx, c.ID)
	if err != nil {
		return err
	}
	next, ok := all[c.ID]
	if !ok || !c.Enabled {
		return nil
	}
	out.NextRunAt = utc(next.NextAt)
	if next.NotBefore != nil && next.NotBefore.After(s.clock.Now()) && text != config.ScheduleOff {
		until := next.NotBefore
		if next.NextAt != nil {
			until = next.NextAt
		}
		runs := "the last run failed"
		if next.Failures > 1 {
			runs = fmt.Sprintf("the last %d runs failed", next.Failures)
		}
		out.Waiting = &Waiting{Reason: "backoff: " + runs, Until: utc(until)}
	}
	return nil
}

func (s *Server) keeperRoutes(h huma.API) {
	b := s.cfg.Backend
	type change struct {
		id, method, path, summary string
		do                        func(context.Context, string) (Channel, error)
	}
	for _, c := range []change{
		{"enable-channel", http.MethodPost, "/channels/{name}/enable", "Switch a channel on; it is synchronized at once", b.EnableChannel},
		{"disable-channel", http.MethodPost, "/channels/{name}/disable", "Switch a channel off; its runs end within seconds", b.DisableChannel},
		{
			"delete-channel", http.MethodDelete, "/channels/{name}",
			"Delete a channel with its links, watermarks and runs, and no row of a table of yours; gives what it was", b.DeleteChannel,
		},
	} {
		huma.Register(h, op(c.id, c.method, c.path, c.summary, http.StatusNotFound),
			func(ctx context.Context, in *nameInput) (*body[Channel], error) {
				out, err := c.do(ctx, in.Name)
				return answer(ctx, s, out, err)
			})
	}
}
