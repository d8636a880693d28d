package rest

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/transport"
)

// writer is a connector that can change records.
type writer struct {
	*connector
	plan    atomic.Pointer[writePlan] // of the last Write
	trouble atomic.Int32              // failures of the remote's own in a row
}

// offers gives the connector with what its settings make possible.
func (c *connector) offers() channels.Connector {
	get, write, find := c.getPath != "", c.writes(), c.write.find.given()
	switch {
	case get && write && find:
		return &struct {
			*connector
			*getter
			*writer
			*finder
		}{c, &getter{connector: c}, &writer{connector: c}, newFinder(c)}
	case get && write:
		return &struct {
			*connector
			*getter
			*writer
		}{c, &getter{connector: c}, &writer{connector: c}}
	case get && find:
		return &struct {
			*connector
			*getter
			*finder
		}{c, &getter{connector: c}, newFinder(c)}
	case write && find:
		return &struct {
			*connector
			*writer
			*finder
		}{c, &writer{connector: c}, newFinder(c)}
	case get:
		return &getter{connector: c}
	case write:
		return &writer{connector: c}
	case find:
		return newFinder(c)
	}
	return c
}

func (c *connector) writes() bool {
	return c.write.create.given() || c.write.update.given() || c.write.remove.given()
}

// WriteCapabilities says what the settings make possible.
func (w *writer) WriteCapabilities() channels.WriteCapabilities {
	s := w.write
	caps := channels.WriteCapabilities{
		Create: s.create.given(), Update: s.update.given(), Delete: s.remove.given(), Batch: 1, Parallel: w.http.Concurrency(),
		Whole: s.update.given() && s.update.method == http.MethodPut, Precondition: s.versionAt() != "",
	}
	switch {
	case !caps.Create:
	case s.idempotency != "":
		caps.Safety, caps.Settle = channels.SafetyKey, s.settle
	default:
		caps.Safety, caps.Settle = channels.SafetyLookup, s.settle
	}
	return caps
}

// writePlan is what the fields of a Write are compiled to. Immutable.
type writePlan struct {
	fields  []string
	targets [][]string
	created []*plan // where the answer to a create may hold the record, best first
	updated []*plan
}

func (w *writer) compile(fields []string) (*writePlan, error) {
	if p := w.plan.Load(); p != nil && slices.Equal(p.fields, fields) {
		return p, nil
	}
	p := &writePlan{fields: slices.Clone(fields)}
	var err error
	if p.targets, err = targets(fields); err != nil {
		return nil, err
	}
	if p.created, err = w.answers(w.write.create, fields); err != nil {
		return nil, err
	}
	if p.updated, err = w.answers(w.write.update, fields); err != nil {
		return nil, err
	}
	w.plan.Store(p)
	return p, nil
}

// answers gives the places of an answer at which the record may be: beside the
// id that the settings name, where get has it, where it was sent, at the top.
func (w *writer) answers(call writeCall, fields []string) ([]*plan, error) {
	if !call.given() || w.id == keyPath {
		return nil, nil
	}
	var places []string
	if at, ok := strings.CutSuffix(call.id, "."+w.id); ok {
		places = append(places, at)
	}
	places = append(places, w.getRecord, call.wrap, "")
	var out []*plan
	for i, at := range places {
		if slices.Contains(places[:i], at) {
			continue
		}
		p, err := shape{
			records: at, single: true, id: w.id, modified: w.modified,
			deletedField: w.deletedField, format: w.list.since.format,
		}.compile(fields)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// Write carries the orders out, one call each, transport.concurrency at a time.
// After trouble with the remote as a whole no further order is begun.
func (w *writer) Write(ctx context.Context, fields []string, orders []channels.Order) ([]channels.Result, error) {
	p, err := w.compile(fields)
	if err != nil {
		return nil, fault.Wrap(fault.Permanent, fault.CodeConfig, w.writeOp("write"), err)
	}
	j := &job{w: w, orders: orders, results: make([]channels.Result, 0, len(orders))}
	work := func() {
		for o, ok := j.take(ctx); ok; o, ok = j.take(ctx) {
			j.done(w.one(ctx, p, o))
		}
	}
	if len(orders) == 1 {
		work()
	} else {
		var wg sync.WaitGroup
		for range min(w.http.Concurrency(), len(orders)) {
			wg.Go(work)
		}
		wg.Wait()
	}
	if j.err == nil && ctx.Err() != nil {
		j.err = fault.Wrap(fault.Retryable, fault.CodeCancelled, w.writeOp("write"), ctx.Err())
	}
	return j.results, j.err
}

// maxTrouble is how many failures of the remote's own in a row, in one Write or
// in several, end a Write: one record that it cannot digest must not stop the
// others, a remote that is down must not be asked about each.
const maxTrouble = 3

// job is one Write under way.
type job struct {
	w      *writer
	orders []channels.Order

	mu      sync.Mutex
	next    int
	results []channels.Result
	err     error
}

// take gives the next order, unless the job has ended.
func (j *job) take(ctx context.Context) (channels.Order, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.next == len(j.orders) || j.err != nil || ctx.Err() != nil {
		return channels.Order{}, false
	}
	j.next++
	return j.orders[j.next-1], true
}

// end is how one order ended.
type end struct {
	channels.Result
	whole   error // of the remote as a whole; it ends the job
	trouble bool  // the remote failed at this order
}

func (j *job) done(e end) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.results = append(j.results, e.Result)
	if !e.trouble {
		j.w.trouble.Store(0)
	} else if j.w.trouble.Add(1) >= maxTrouble && e.whole == nil {
		e.whole = e.Err
	}
	if e.whole != nil {
		j.w.trouble.Store(0) // the next Write has as many tries
	}
	if j.err == nil {
		j.err = e.whole
	}
}

func (w *writer) writeOp(verb string) string { return "rest: " + verb + " " + w.name }

// one carries out one order.
func (w *writer) one(ctx context.Context, p *writePlan, o channels.Order) end {
	call, req, err := w.request(p, o)
	switch {
	case err != nil:
		return end{Result: channels.Result{N: o.N, Outcome: channels.Refused, ID: o.ID, Err: w.named(o, err)}}
	case call == nil:
		// Nothing of the record is sent, so nothing is asked.
		return end{Result: channels.Result{N: o.N, Outcome: channels.Written, ID: o.ID}}
	}
	if err := yield.Point(ctx, "write.before_call"); err != nil {
		return end{Result: channels.Result{N: o.N, Outcome: channels.NotSent, ID: o.ID, Err: err}, whole: err}
	}
	a := &attempt{order: o, call: *call}
	req.Sent, req.Classify = &a.sent, a.classify
	resp, err := w.http.Do(ctx, req)
	if err != nil {
		return w.failed(ctx, p, a, err)
	}
	if o.Op == channels.OrderCreate {
		return w.created(p, a, resp)
	}
	return w.changed(p, a, resp)
}

// named says which call an error is about.
func (w *writer) named(o channels.Order, err error) error {
	return fault.Wrap(fault.Of(err), fault.CodeOf(err), w.writeOp(o.Op.String()), err)
}

// request makes an order's call; a nil call is an update that sends nothing.
// An error is about the record.
func (w *writer) request(p *writePlan, o channels.Order) (*writeCall, transport.Request, error) {
	var call writeCall
	switch o.Op {
	case channels.OrderCreate:
		call = w.write.create
	case channels.OrderUpdate:
		call = w.write.update
	case channels.OrderDelete:
		call = w.write.remove
	}
	req := transport.Request{Op: w.writeOp(o.Op.String()), Method: call.method, Path: call.path, Safe: o.Op != channels.OrderCreate}
	if !call.given() {
		return nil, req, fault.New(fault.Permanent, "unsupported", "", "the settings do not say how a record is written so").
			WithHint("add create, update or remove to the connector's remote")
	}
	if o.Op != channels.OrderCreate {
		if err := checkID(o.ID); err != nil {
			return nil, req, err
		}
		req.Path = strings.ReplaceAll(call.path, "{id}", escapeID(call.path, o.ID))
	}
	if call.ifMatch != "" && o.Version != "" {
		req.Header = http.Header{"If-Match": {o.Version}}
	}
	if o.Op == channels.OrderDelete {
		return &call, req, nil
	}
	body, something, err := p.body(call.wrap, o)
	if err != nil || !something && o.Op == channels.OrderUpdate {
		return nil, req, err
	}
	req.Body = body
	if o.Op == channels.OrderCreate && w.write.idempotency != "" && o.Key != "" {
		req.Header, req.Safe = http.Header{w.write.idempotency: {o.Key}}, true
	}
	return &call, req, nil
}
