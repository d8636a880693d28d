package api

import (
	"context"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// CodeUnsupported is the code of a request this version cannot serve.
const CodeUnsupported = "unsupported"

// filter turns a query into what the store looks for.
func (s *Service) filter(ctx context.Context, tx *store.Tx, q ParkedQuery) (store.ParkedFilter, error) {
	f := store.ParkedFilter{Connector: q.Connector, Kind: q.Kind, Reason: q.Reason, RunID: q.Run, Open: !q.Resolved, Before: q.Before}
	since, err := when("since", q.Since, s.clock.Now())
	if err != nil {
		return f, err
	}
	if since != nil {
		f.Since = *since
	}
	if q.Channel == "" {
		return f, nil
	}
	c, err := findChannel(ctx, tx, q.Channel)
	f.ChannelID = c.ID
	return f, err
}

// Parked gives a page of parked items, the latest first.
func (s *Service) Parked(ctx context.Context, q ParkedQuery) (ParkedPage, error) {
	out := ParkedPage{Parked: []Parked{}}
	limit := pageSize(q.Limit)
	var said error
	err := s.read(ctx, func(ctx context.Context, tx *store.Tx) error {
		out = ParkedPage{Parked: []Parked{}}
		f, err := s.filter(ctx, tx, q)
		if err != nil {
			said = err
			return err
		}
		f.Limit = limit + 1
		list, err := tx.ListParked(ctx, f)
		if err != nil {
			return err
		}
		if len(list) > limit {
			list = list[:limit]
			out.Next = &list[limit-1].ID
		}
		for _, p := range list {
			out.Parked = append(out.Parked, showParked(p))
		}
		return nil
	})
	if said != nil {
		err = said
	}
	return out, err
}

// ParkedItem gives one parked item with its history.
func (s *Service) ParkedItem(ctx context.Context, id int64) (Parked, error) {
	var out Parked
	err := s.read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		out, err = parkedItem(ctx, tx, id)
		return err
	})
	return out, err
}

func parkedItem(ctx context.Context, tx *store.Tx, id int64) (Parked, error) {
	p, err := findParked(ctx, tx, id)
	if err != nil {
		return Parked{}, err
	}
	out := showParked(p)
	out.History, err = tx.ParkedAttempts(ctx, id)
	return out, err
}

func findParked(ctx context.Context, tx *store.Tx, id int64) (store.Parked, error) {
	p, err := tx.ParkedByID(ctx, id)
	if fault.CodeOf(err) == fault.CodeNotFound {
		err = fault.New(fault.Permanent, fault.CodeNotFound, "", "no parked item %d", id).WithHint("`tandem parked list` shows what waits")
	}
	return p, err
}

func showParked(p store.Parked) Parked {
	out := Parked{
		ID: p.ID, Kind: p.Kind, Channel: p.Channel, Connector: p.Connector, LocalID: p.LocalID, RemoteID: p.RemoteID, Outward: p.Outward,
		Reason: p.Reason, Message: p.Message, Answer: p.Answer, Attempts: p.Attempts, CreatedAt: p.CreatedAt.UTC(), NextAt: utc(p.NextAt),
		Payload: p.Payload, Resolved: p.Resolved, ResolvedAt: utc(p.ResolvedAt),
	}
	if p.RunID != 0 {
		out.Run = &p.RunID
	}
	return out
}

// SkipParked closes an open item.
func (s *Service) SkipParked(ctx context.Context, id int64) (Parked, error) {
	var out Parked
	err := s.write(ctx, "skip parked", func(ctx context.Context, tx *store.Tx) error {
		p, err := findParked(ctx, tx, id)
		switch {
		case err != nil:
			return err
		case p.Resolved != "":
			return doneWith(p)
		}
		if err := skippable(ctx, tx, headOf(p)); err != nil {
			return err
		}
		if err := tx.ResolveParked(ctx, id, store.ResolvedSkipped); err != nil {
			return err
		}
		out, err = parkedItem(ctx, tx, id)
		return err
	})
	return out, err
}

func doneWith(p store.Parked) error {
	return fault.New(fault.Permanent, fault.CodeConflict, "", "parked item %d is done with: %s", p.ID, p.Resolved)
}

// skippable refuses to close what is being carried out.
func skippable(ctx context.Context, tx *store.Tx, h store.ParkedHead) error {
	if h.Kind != store.ParkedMassDelete {
		return nil
	}
	return notApproved(ctx, tx, h)
}

func headOf(p store.Parked) store.ParkedHead {
	return store.ParkedHead{
		ID: p.ID, Kind: p.Kind, ChannelID: p.ChannelID, Channel: p.Channel, ConnectorID: p.ConnectorID, Connector: p.Connector,
		LocalID: p.LocalID, RemoteID: p.RemoteID, Outward: p.Outward, Payload: p.Payload,
	}
}

// SkipChosen closes many items at once.
func (s *Service) SkipChosen(ctx context.Context, c ParkedChoice) (ParkedDone, error) {
	return s.chosen(ctx, "skip parked", c, func(ctx context.Context, tx *store.Tx, heads []store.ParkedHead, out *ParkedDone) error {
		ids := make([]int64, 0, len(heads))
		for _, h := range heads {
			if err := skippable(ctx, tx, h); err != nil {
				if !refused(err) {
					return err
				}
				out.refuse(h.ID, err)
				continue
			}
			ids = append(ids, h.ID)
		}
		_, err := tx.ResolveAll(ctx, ids, store.ResolvedSkipped)
		return err
	})
}

// choice turns a choice into a filter of open items.
func (s *Service) choice(ctx context.Context, tx *store.Tx, c ParkedChoice) (store.ParkedFilter, error) {
	narrow := c.Channel != "" || c.Connector != "" || c.Kind != "" || c.Reason != "" || c.Run != 0 || c.Since != ""
	if !narrow && !c.All {
		return store.ParkedFilter{}, usage("name what is meant: channel, connector, kind, reason, run or since, or all of it")
	}
	f, err := s.filter(ctx, tx, ParkedQuery{
		Channel: c.Channel, Connector: c.Connector, Kind: c.Kind, Reason: c.Reason, Run: c.Run, Since: c.Since,
	})
	if c.Kind == "" {
		// Whoever means a wave of deletions says so.
		f.NotKind = store.ParkedMassDelete
	}
	return f, err
}

// chosen counts the items of a choice and, where the count is confirmed, works
// on them in the same transaction.
func (s *Service) chosen(ctx context.Context, what string, c ParkedChoice,
	do func(context.Context, *store.Tx, []store.ParkedHead, *ParkedDone) error,
) (ParkedDone, error) {
	var out ParkedDone
	err := s.write(ctx, what, func(ctx context.Context, tx *store.Tx) error {
		out = ParkedDone{Runs: []Run{}, Reasons: []ParkedRefusal{}, Notes: []string{}}
		f, err := s.choice(ctx, tx, c)
		if err != nil {
			return err
		}
		if out.Count, err = tx.CountParked(ctx, f); err != nil || c.Confirm == nil {
			return err
		}
		if *c.Confirm != out.Count {
			return fault.New(fault.Permanent, fault.CodeConflict, "", "%d were confirmed, and %d items are meant now", *c.Confirm, out.Count).
				WithHint("look at them again, then confirm their number").WithWhere("confirm")
		}
		out.Confirmed = true
		heads, err := tx.ParkedHeads(ctx, f)
		if err != nil {
			return err
		}
		return do(ctx, tx, heads, &out)
	})
	if err == nil && out.Confirmed && s.fleet != nil {
		s.fleet.Kick()
	}
	return out, err
}

// maxReasons bounds an answer.
const maxReasons = 100

func (d *ParkedDone) refuse(id int64, err error) {
	d.Refused++
	if len(d.Reasons) < maxReasons {
		d.Reasons = append(d.Reasons, ParkedRefusal{ID: id, Message: err.Error(), Hint: fault.HintOf(err)})
	}
}

// refused reports whether err says that what was asked for cannot be, which
// leaves the transaction as it was.
func refused(err error) bool {
	switch fault.CodeOf(err) {
	case fault.CodeNotFound, fault.CodeConflict, fault.CodeUsage, CodeUnsupported:
		return true
	}
	return false
}

// notApproved refuses a second approval while the first one is carried out.
func notApproved(ctx context.Context, tx *store.Tx, h store.ParkedHead) error {
	runs, err := tx.Runs(ctx, store.RunFilter{
		ChannelID: h.ChannelID, Limit: 500,
		Status: []store.Status{store.StatusPlanned, store.StatusPreparing, store.StatusExecution},
	})
	if err != nil {
		return err
	}
	for _, r := range runs {
		if r.Spec.ApproveParked == h.ID {
			return fault.New(fault.Permanent, fault.CodeConflict, "", "run %d is carrying it out already", r.ID)
		}
	}
	return nil
}

// probeFor bounds finding out what connectors can do.
const probeFor = 10 * time.Second
