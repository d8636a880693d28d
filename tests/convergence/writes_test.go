package convergence

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/sync/record"
)

func (c simConnector) WriteCapabilities() channels.WriteCapabilities {
	return channels.WriteCapabilities{
		Create: true, Update: true, Delete: true, Batch: c.r.Batch, Safety: c.r.Safety,
		Settle: time.Duration(c.r.Settle) * time.Second, Answers: c.r.Answers,
	}
}

// Write carries orders out call by call, as many in each as the remote takes.
func (c simConnector) Write(ctx context.Context, names []string, orders []channels.Order) ([]channels.Result, error) {
	var out []channels.Result
	for chunk := range slices.Chunk(orders, c.r.Batch) {
		results, err := c.r.call(ctx, names, chunk)
		out = append(out, results...)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// call is one call of the remote: what it meets on its way, its effect, and the
// answer.
func (r *remote) call(ctx context.Context, names []string, orders []channels.Order) ([]channels.Result, error) {
	r.touched(ctx, names, orders)
	if err := yield.Point(ctx, "remote.write "+r.name); err != nil {
		return nil, err
	}
	for _, o := range orders {
		for f := 0; r.Upper && f < len(o.Values); f++ {
			r.m.untold(o.Values[f].Text)
		}
	}
	trouble, done := r.effect(ctx, names, orders)
	err := yield.Point(ctx, "remote.written "+r.name)
	if err == nil {
		err = takes(ctx, 5*time.Millisecond)
	}
	cut := fault.New(fault.Retryable, "", "sim", "%s", trouble.What)
	switch {
	case err != nil:
		return unknown(orders, err), err
	case trouble.What == faultBusy:
		return nil, fault.New(fault.RateLimited, "", "sim", "429").After(time.Duration(1+trouble.Arg%10) * time.Second)
	case trouble.What == faultBefore && trouble.Arg%2 == 0:
		return nil, cut
	case trouble.What == faultBroken, trouble.What == faultBefore, trouble.What == faultAfter:
		if trouble.Arg%2 == 0 {
			return unknown(orders, cut), cut
		}
		return unknown(orders, cut), nil
	}
	return done, nil
}

// touched notes whose records a call is about.
func (r *remote) touched(ctx context.Context, names []string, orders []channels.Order) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.m.fresh(ctx)
	for _, o := range orders {
		if c := r.all[o.ID]; c != nil {
			r.m.touch(ctx, r.name, c.vals[0])
		} else if o.Op == channels.OrderCreate {
			r.m.touch(ctx, r.name, o.Values[slices.Index(names, fields[0])].Text)
		}
	}
}

func unknown(orders []channels.Order, err error) []channels.Result {
	out := make([]channels.Result, len(orders))
	for i, o := range orders {
		out[i] = channels.Result{N: o.N, Outcome: channels.Unknown, Err: err}
	}
	return out
}

// effect carries the orders out, unless what is in store says that they do not
// arrive.
func (r *remote) effect(ctx context.Context, names []string, orders []channels.Order) (t mess, out []channels.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.trouble) > 0 {
		t, r.trouble = r.trouble[0], r.trouble[1:]
	}
	switch t.What {
	case faultBusy, faultBroken, faultBefore:
		return t, nil
	}
	for i := range orders {
		o := &orders[i]
		res := channels.Result{N: o.N, Outcome: channels.Written, ID: o.ID, RemoteNow: r.now()}
		switch o.Op {
		case channels.OrderCreate:
			r.create(ctx, names, o, &res)
		case channels.OrderUpdate:
			r.update(ctx, names, o, &res, t.What == faultChanged)
		case channels.OrderDelete:
			r.remove(o)
		}
		out = append(out, res)
	}
	return t, out
}

func (r *remote) create(ctx context.Context, names []string, o *channels.Order, res *channels.Result) {
	if id, ok := r.keys[o.Key]; ok && r.Safety == channels.SafetyKey {
		r.answer(ctx, names, r.all[id], res)
		return
	}
	var vals [len(fields)]string
	for f, v := range o.Values {
		vals[slices.Index(fields[:], names[f])] = v.Text
	}
	if other := r.named(vals[0]); other != nil {
		if r.Safety == channels.SafetyUnique {
			res.Outcome, res.ID = channels.Exists, other.id
			return
		}
		if !r.m.isGone(vals[0]) { // its key may have been given to another row
			r.m.breaks("%s: record %s is created a second time (there is %s)", r.name, vals[0], other.id)
		}
	}
	c := r.add(vals)
	r.m.say("  %s: %s %v made by Tandem", r.name, c.id, c.vals)
	c.shows = time.Now().Add(time.Duration(r.Settle) * time.Second)
	r.keys[o.Key] = c.id
	r.writes++
	r.creates[fold(vals[0])]++
	if n := r.creates[fold(vals[0])]; n > 1 && !r.m.isGone(vals[0]) {
		r.m.breaks("%s: record %s has been created %d times", r.name, vals[0], n)
	}
	r.answer(ctx, names, c, res)
}

func (r *remote) answer(ctx context.Context, names []string, c *contact, res *channels.Result) {
	res.ID = c.id
	if r.Guards {
		res.Version = strconv.Itoa(c.version)
	}
	if r.Answers {
		rec := c.record(ctx, names)
		res.Record = &rec
	}
}

func (r *remote) update(ctx context.Context, names []string, o *channels.Order, res *channels.Result, refuse bool) {
	c := r.all[o.ID]
	switch {
	case c == nil || c.deleted:
		res.Outcome = channels.Gone
		return
	case refuse, r.Guards && o.Version != "" && o.Version != strconv.Itoa(c.version):
		res.Outcome = channels.Changed
		return
	}
	changed := false
	for f, v := range o.Values {
		if !v.Has() {
			continue
		}
		if i := slices.Index(fields[:], names[f]); o.Version == "" && c.told[reader(ctx)][i] != c.vals[i] {
			// Written between the look and the write, and the remote knows no
			// precondition: nobody can know of it.
			r.m.unseen(c.vals[i])
		}
		if r.set(c, slices.Index(fields[:], names[f]), v) {
			changed = true
		}
	}
	if !changed {
		r.echoes++
		r.answer(ctx, names, c, res)
		return
	}
	r.writes++
	c.version++
	c.updated = r.now()
	r.answer(ctx, names, c, res)
}

// set writes one field for Tandem and looks at what it replaces.
func (r *remote) set(c *contact, f int, v record.Value) bool {
	now, old := r.spelled(v.Text), c.vals[f]
	if now == old {
		return false
	}
	if f > 0 && r.m.older(now, old) && !r.m.isUnsure(now) {
		r.m.breaks("%s: %s of %s goes back from %s to %s", r.name, fields[f], c.vals[0], old, now)
	}
	r.m.say("  %s: %s (%s) gets %s from Tandem, was %s", r.name, c.id, c.vals[0], now, old)
	c.vals[f] = now
	return true
}

func (r *remote) remove(o *channels.Order) {
	c := r.all[o.ID]
	if c == nil || c.deleted {
		return
	}
	if !r.m.goneElsewhere(c.vals[0], r.name) {
		r.m.breaks("%s: %s (%s) is deleted, and nobody deleted it elsewhere", r.name, c.id, c.vals[0])
	}
	r.m.say("  %s: %s (%s) removed by Tandem", r.name, c.id, c.vals[0])
	c.deleted, c.updated = true, r.now()
	r.writes++
}
