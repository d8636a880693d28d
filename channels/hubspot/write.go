package hubspot

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/sync/record"
	"github.com/tandem-sync/tandem/transport"
)

// emailProperty is unique in every account.
const emailProperty = "email"

// settle is how long a new contact may be missing from searches.
const settle = 30 * time.Second

// readOnly are properties that HubSpot sets itself.
var readOnly = []string{idProperty, modifiedProperty, "createdate"}

// WriteCapabilities says what writing contacts can do.
func (c *connector) WriteCapabilities() channels.WriteCapabilities {
	return channels.WriteCapabilities{
		Create: true, Update: true, Delete: true, Batch: batchSize, Parallel: c.client.http.Concurrency(),
		Safety: channels.SafetyUnique, Settle: settle, Answers: true,
	}
}

// SafetyOf gives the class of one create: HubSpot refuses a second contact with
// the same e-mail address, and one without an address is looked for.
func (c *connector) SafetyOf(fields []string, o channels.Order) string {
	if i := slices.Index(fields, emailProperty); i >= 0 && i < len(o.Values) && !o.Values[i].Empty() {
		return channels.SafetyUnique
	}
	return channels.SafetyLookup
}

// Write carries the orders out in batches of a hundred, transport.concurrency at
// a time. A delete archives. After trouble with the account as a whole no further
// batch is begun.
func (c *connector) Write(ctx context.Context, fields []string, orders []channels.Order) ([]channels.Result, error) {
	if err := checkFields(c.writeOp("write"), fields); err != nil {
		return nil, err
	}
	j := &job{c: c, fields: fields, plan: newPlan(fields, false)}
	for _, op := range []channels.Op{channels.OrderCreate, channels.OrderUpdate, channels.OrderDelete} {
		var mine []channels.Order
		for _, o := range orders {
			if o.Op != op {
				continue
			}
			if op != channels.OrderCreate && !numeric(o.ID) {
				j.refuse(o, bad(fault.CodeBadRecord, "%q is not the id of a contact", short(o.ID)))
				continue
			}
			mine = append(mine, o)
		}
		for part := range slices.Chunk(mine, batchSize) {
			j.parts = append(j.parts, batch{kinds[op], part})
		}
	}
	for _, o := range orders {
		if _, ok := kinds[o.Op]; !ok {
			j.refuse(o, bad("unsupported", "HubSpot knows no such order"))
		}
	}
	j.run(ctx)
	return j.results, j.err
}

func (c *connector) writeOp(verb string) string { return "hubspot: " + verb + " " + c.name }

// kind is one way of writing.
type kind struct {
	verb, path string
	creates    bool
	archives   bool // the answer is empty and tells of no row
}

var kinds = map[channels.Op]kind{
	channels.OrderCreate: {verb: "create", path: "/batch/create", creates: true},
	channels.OrderUpdate: {verb: "update", path: "/batch/update"},
	channels.OrderDelete: {verb: "delete", path: "/batch/archive", archives: true},
}

// batch is what one call writes.
type batch struct {
	kind
	orders []channels.Order
}

// job is one Write under way.
type job struct {
	c      *connector
	fields []string
	plan   *plan
	parts  []batch

	mu      sync.Mutex
	results []channels.Result
	err     error
}

func (j *job) run(ctx context.Context) {
	var wg sync.WaitGroup
	for range min(j.c.client.http.Concurrency(), len(j.parts)) {
		wg.Go(func() {
			for b, ok := j.take(ctx); ok; b, ok = j.take(ctx) {
				j.failed(j.batch(ctx, b))
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		j.failed(fault.Wrap(fault.Retryable, fault.CodeCancelled, j.c.writeOp("write"), ctx.Err()))
	}
}

// take gives the next batch, unless the job has ended.
func (j *job) take(ctx context.Context) (batch, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.parts) == 0 || j.err != nil || ctx.Err() != nil {
		return batch{}, false
	}
	b := j.parts[0]
	j.parts = j.parts[1:]
	return b, true
}

func (j *job) failed(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		j.err = err
	}
}

func (j *job) add(r channels.Result) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.results = append(j.results, r)
}

func (j *job) refuse(o channels.Order, err error) {
	j.add(channels.Result{N: o.N, Outcome: channels.Refused, ID: o.ID, Err: err})
}

// body makes the call's body. Each row has a trace id of its own, which is its
// place: only then does HubSpot answer row by row.
func (j *job) body(b batch) []byte {
	out := append(make([]byte, 0, 160*len(b.orders)+32), `{"inputs":[`...)
	for i := range b.orders {
		o := &b.orders[i]
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, '{')
		if !b.creates {
			out = member(out, "id", o.ID)
		}
		if !b.archives {
			out = j.properties(out, o)
			out = member(out, "objectWriteTraceId", strconv.Itoa(i))
		}
		if b.creates {
			out = append(out, `,"associations":[]`...) // they must have it
		}
		out = append(out, '}')
	}
	return append(out, "]}"...)
}

// member adds a text to an object.
func member(b []byte, name, text string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b, _ = jsontext.AppendQuote(b, name) // bad UTF-8 is replaced
	b, _ = jsontext.AppendQuote(append(b, ':'), text)
	return b
}

// properties adds an order's values as HubSpot takes them: texts, and the empty
// one clears. What the order itself says wins over its constants.
func (j *job) properties(b []byte, o *channels.Order) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, `"properties":{`...)
	given := func(name string, from int) bool {
		for i := from; i < min(len(o.Values), len(j.fields)); i++ {
			if j.fields[i] == name && o.Values[i].Has() {
				return true
			}
		}
		return false
	}
	for i, v := range o.Values {
		if v.Has() && i < len(j.fields) && !given(j.fields[i], i+1) {
			b = member(b, j.fields[i], v.Text)
		}
	}
	if o.Op != channels.OrderCreate {
		return append(b, '}')
	}
	for i, s := range o.Set {
		again := slices.ContainsFunc(o.Set[i+1:], func(t channels.PathValue) bool { return t.Path == s.Path && t.Value.Has() })
		if s.Value.Has() && !again && !given(s.Path, 0) {
			b = member(b, s.Path, s.Value.Text)
		}
	}
	return append(b, '}')
}

// refusal is the last refusal of a call.
type refusal struct {
	status int
	body   []byte
}

// batch writes one batch. The error is about the account as a whole.
func (j *job) batch(ctx context.Context, b batch) error {
	b.orders = slices.DeleteFunc(slices.Clone(b.orders), func(o channels.Order) bool {
		nothing := !b.creates && !b.archives && !slices.ContainsFunc(o.Values, record.Value.Has)
		if nothing {
			j.add(channels.Result{N: o.N, Outcome: channels.Written, ID: o.ID})
		}
		return nothing
	})
	if len(b.orders) == 0 {
		return nil
	}
	if err := yield.Point(ctx, "write.before_call"); err != nil {
		return err
	}
	var sent transport.Sent
	var no refusal
	a, err := j.c.client.http.Do(ctx, transport.Request{
		Op: j.c.writeOp(b.verb), Method: http.MethodPost, Path: contactsPath + b.path, Body: j.body(b), Safe: !b.creates, Sent: &sent,
		Classify: func(status int, h http.Header, body []byte) *fault.Error {
			no = refusal{status, slices.Clone(body)}
			return j.c.client.classify(status, h, body)
		},
	})
	if err != nil {
		return j.lost(ctx, b, &sent, no, err)
	}
	if b.archives {
		j.archived(b, a)
		return nil
	}
	return j.answered(ctx, b, a)
}

// archived ends a batch of deletes, which HubSpot answers with nothing: what was
// not there is archived as well.
func (j *job) archived(b batch, a *transport.Response) {
	for _, o := range b.orders {
		j.add(channels.Result{N: o.N, Outcome: channels.Written, ID: o.ID, RemoteNow: a.RemoteNow})
	}
}

// all ends every order of a batch in the same way.
func (j *job) all(b batch, outcome channels.Outcome, err error) {
	for _, o := range b.orders {
		j.add(channels.Result{N: o.N, Outcome: outcome, ID: o.ID, Err: err})
	}
}

// lost says what became of a batch whose call failed.
func (j *job) lost(ctx context.Context, b batch, sent *transport.Sent, no refusal, err error) error {
	code := fault.CodeOf(err)
	switch {
	case !sent.Reached():
		j.all(b, channels.NotSent, err)
		return err
	case fault.AnswerOf(err) == "" || fault.Of(err) != fault.Permanent || code == fault.CodeAuth:
		j.all(b, channels.Unknown, err)
		return err
	case no.status == http.StatusNotFound || no.status == http.StatusMethodNotAllowed || code == fault.CodeNotFound:
		// Single contacts that are not there do not refuse a batch.
		j.all(b, channels.NotSent, err)
		return err
	case len(b.orders) > 1:
		// Nothing of a refused batch is done. The halves tell which row it was.
		half := len(b.orders) / 2
		if err := j.batch(ctx, batch{b.kind, b.orders[:half]}); err != nil {
			return err
		}
		return j.batch(ctx, batch{b.kind, b.orders[half:]})
	}
	t := readTrouble(no.body)
	j.row(ctx, b, b.orders[0], rowError{Category: t.category, Message: t.message}, no.status, err)
	return nil
}
