package pass_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

// writing is memory that can be written to.
type writing struct {
	getting
	w *writes
}

// writes is how a writing memory behaves, and what it was asked for.
type writes struct {
	caps   channels.WriteCapabilities
	mu     sync.Mutex // guards orders while writes are under way
	orders []channels.Order
	next   int
	// stored brings a value into the form in which the remote keeps it.
	stored func(path string, v record.Value) record.Value
	// meddle decides about an order before it is carried out; done false lets it
	// through. after says what is told of one that was carried out.
	meddle func(o *channels.Order) (r channels.Result, done bool)
	// before happens in front of an order to a guarded memory.
	before func(o *channels.Order)
	after  func(o *channels.Order, r channels.Result) channels.Result
	// whole, if set, is trouble with the remote as a whole that a call meets.
	whole func() error
}

func newWrites() *writes {
	return &writes{caps: channels.WriteCapabilities{Create: true, Update: true, Delete: true, Batch: 1, Safety: channels.SafetyLookup, Answers: true}}
}

func (w writing) WriteCapabilities() channels.WriteCapabilities { return w.w.caps }

func (w writing) Write(_ context.Context, fields []string, orders []channels.Order) ([]channels.Result, error) {
	if w.w.whole != nil {
		if err := w.w.whole(); err != nil {
			return nil, err
		}
	}
	var out []channels.Result
	for i := range orders {
		o := &orders[i]
		w.w.mu.Lock()
		w.w.orders = append(w.w.orders, *o)
		w.w.mu.Unlock()
		if w.w.meddle != nil {
			if r, done := w.w.meddle(o); done {
				r.N = o.N
				out = append(out, r)
				continue
			}
		}
		r := w.carryOut(fields, o)
		if w.w.after != nil {
			r = w.w.after(o, r)
		}
		r.N = o.N
		out = append(out, r)
	}
	return out, nil
}

func (w writing) carryOut(fields []string, o *channels.Order) channels.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.recs, func(r memRecord) bool { return r.id == o.ID && !r.deleted })
	switch {
	case o.Op == channels.OrderCreate:
		w.w.next++
		w.recs = append(w.recs, memRecord{id: fmt.Sprintf("n%d", w.w.next), vals: map[string]record.Value{}})
		i = len(w.recs) - 1
		for _, s := range o.Set {
			w.recs[i].vals[s.Path] = s.Value
		}
	case i < 0 && o.Op == channels.OrderDelete:
		return channels.Result{Outcome: channels.Written, ID: o.ID}
	case i < 0:
		return channels.Result{Outcome: channels.Gone}
	case o.Op == channels.OrderDelete:
		w.recs[i].deleted, w.recs[i].updated = true, time.Now().UTC()
		return channels.Result{Outcome: channels.Written, ID: o.ID}
	}
	for f, v := range o.Values {
		if v.Has() {
			if w.w.stored != nil {
				v = w.w.stored(fields[f], v)
			}
			w.recs[i].vals[fields[f]] = v
		}
	}
	w.recs[i].updated = time.Now().UTC()
	res := channels.Result{Outcome: channels.Written, ID: w.recs[i].id}
	if w.w.caps.Answers {
		rec := w.recs[i].record(fields)
		res.Record = &rec
	}
	return res
}

// trimmed is a remote that takes blanks away and folds case.
func trimmed(_ string, v record.Value) record.Value {
	if v.Kind == record.Text {
		v.Text = strings.ToLower(strings.TrimSpace(v.Text))
	}
	return v
}

// lost is the answer to an order whose outcome is not known.
func lost(*channels.Order, channels.Result) channels.Result {
	return channels.Result{Outcome: channels.Unknown, Err: fault.New(fault.Retryable, fault.CodeUnreachable, "write", "the answer was lost")}
}

// refuse has the remote refuse records of a name.
func refuse(name string) func(o *channels.Order) (channels.Result, bool) {
	return func(o *channels.Order) (channels.Result, bool) {
		if len(o.Values) == 0 || o.Values[1] != record.T(name) {
			return channels.Result{}, false
		}
		return channels.Result{Outcome: channels.Refused, Err: fault.New(fault.Permanent, fault.CodeBadRecord, "write", "the name is not allowed")}, true
	}
}
