package channelstest

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/sync/record"
)

// Writing is one connector that writes, for RunWriter.
type Writing struct {
	Type      channels.Type
	Connector string
	// Fields are the remote paths that are written and read.
	Fields []string
	// Open makes an empty remote.
	Open func(t *testing.T) *Remote
	// Sample gives values that the remote accepts, others for each n, none of them
	// empty. Numbers among them should be ones that a float64 cannot hold.
	Sample func(n int) []record.Value
	// Reads says how the remote gives back what was sent; nil is unchanged.
	Reads func(sent record.Value) record.Value
	// Bad gives values that the remote refuses; nil leaves the cases out.
	Bad func(n int) []record.Value
	// Identity are the ordinals of the fields that no two records may share; nil
	// leaves the cases out.
	Identity []int
	// Update is the ordinal of a field that the cases change and clear. It must
	// not be one of Identity.
	Update int
}

// Remote is a remote that a test can play with.
type Remote struct {
	Settings channels.Settings
	// Count says how many records there are.
	Count func() int
	// Remove takes a record away behind the connector's back.
	Remove func(id string)
	// Lose lets the next call be carried out and its answer be lost.
	Lose func()
	// Fail answers the next calls with this status, without an effect.
	Fail func(statuses ...int)
	// Stop takes the remote off the network.
	Stop func()
	// Merge makes the record loser a part of winner and gives the id of what is left;
	// nil leaves the case out.
	Merge func(winner, loser string) string
	// Secrets must appear in no error. The remote quotes them in its refusals.
	Secrets []string
}

// RunWriter runs the acceptance suite of connectors that write. It looks for
// goroutines left behind, so the calling test must not be parallel.
func RunWriter(t *testing.T, w Writing) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	for _, c := range []struct {
		name string
		run  func(*testing.T, *play)
	}{
		{"capabilities", w.capabilities},
		{"create, update, delete", w.roundTrip},
		{"what is written reads back", w.echo},
		{"absent is not sent, null clears", w.nullAndAbsent},
		{"constants of a create", w.constants},
		{"more orders than fit into a call", w.many},
		{"a bad record costs itself", w.badRecord},
		{"duplicate identity", w.duplicate},
		{"a create whose answer is lost", w.lostCreate},
		{"an update whose answer is lost", w.lostUpdate},
		{"a delete whose answer is lost", w.lostDelete},
		{"records that are gone", w.gone},
		{"records that were changed meanwhile", w.precondition},
		{"records that were merged", w.merged},
		{"find", w.find},
		{"a remote that is down", w.down},
		{"trouble of the remote", w.trouble},
		{"a credential that is refused", w.refusedCredential},
		{"a wish to wait", w.wait},
		{"orders that make no sense", w.nonsense},
		{"a cancelled context", w.cancelled},
		{"two writes at a time", w.together},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, w.play(t)) })
	}
	if err := goleak.Find(before); err != nil {
		t.Errorf("goroutines are left: %v", err)
	}
}

// play is one case's remote and connector.
type play struct {
	*Remote
	w    Writing
	con  channels.Connector
	to   channels.Writer
	caps channels.WriteCapabilities
}

func (w Writing) play(t *testing.T) *play {
	t.Helper()
	r := w.Open(t)
	ch, err := w.Type.Open(t.Context(), r.Settings)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := ch.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	con, err := ch.Connector(w.Connector)
	if err != nil {
		t.Fatal(err)
	}
	to, ok := con.(channels.Writer)
	if !ok {
		t.Fatal("the connector is no channels.Writer")
	}
	return &play{Remote: r, w: w, con: con, to: to, caps: to.WriteCapabilities()}
}

// write carries orders out and checks what holds for every answer: results are
// of orders that were given, once each, whole and without secrets.
func (p *play) write(t *testing.T, orders ...channels.Order) (map[int]channels.Result, error) {
	t.Helper()
	got, err := p.to.Write(t.Context(), p.w.Fields, orders)
	p.clean(t, err)
	out := map[int]channels.Result{}
	for _, r := range got {
		p.checkResult(t, orders, r)
		if _, twice := out[r.N]; twice {
			t.Errorf("order %d has two results", r.N)
		}
		out[r.N] = r
	}
	return out, err
}

func (p *play) checkResult(t *testing.T, orders []channels.Order, r channels.Result) {
	t.Helper()
	p.clean(t, r.Err)
	known := false
	for _, o := range orders {
		known = known || o.N == r.N
	}
	if !known || r.Outcome < channels.Written || r.Outcome > channels.NotSent {
		t.Errorf("result %+v is of no order, or no outcome", r)
	}
	switch r.Outcome {
	case channels.Refused, channels.Unknown, channels.NotSent:
		if r.Err == nil {
			t.Errorf("%s without an error", r.Outcome)
		}
	default:
	}
	if r.Record != nil && (r.Record.ID != r.ID || len(r.Record.Values) != len(p.w.Fields)) {
		t.Errorf("the answer's record %+v is not that of %+v", r.Record, r)
	}
}

// clean checks that an error quotes no secret.
func (p *play) clean(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	text := fmt.Sprintf("%v %+v", err, err)
	for e := err; e != nil; e = errors.Unwrap(e) {
		text += fmt.Sprintf(" %#v", e)
	}
	for _, s := range p.Secrets {
		if strings.Contains(text, s) {
			t.Errorf("the error holds a secret: %v", err)
		}
	}
}

// create makes a record that must come to be, and gives its id.
func (p *play) create(t *testing.T, n int) string {
	t.Helper()
	return p.all(t, channels.Written, p.order(n))[n].ID
}

// order is the create of sample n.
func (p *play) order(n int) channels.Order {
	return channels.Order{N: n, Op: channels.OrderCreate, Values: p.w.Sample(n), Key: fmt.Sprintf("key-%d", n)}
}

// update is an update of one field.
func (p *play) update(n int, id string, v record.Value) channels.Order {
	values := make([]record.Value, len(p.w.Fields))
	if p.caps.Whole {
		copy(values, p.w.Sample(n))
	}
	values[p.w.Update] = v
	return channels.Order{N: n, Op: channels.OrderUpdate, ID: id, Values: values}
}

// all writes orders that must all have the outcome, without an error.
func (p *play) all(t *testing.T, want channels.Outcome, orders ...channels.Order) map[int]channels.Result {
	t.Helper()
	got, err := p.write(t, orders...)
	if err != nil || len(got) != len(orders) {
		t.Fatalf("%d results of %d orders, error %v", len(got), len(orders), err)
	}
	for n, r := range got {
		if r.Outcome != want {
			t.Fatalf("order %d: %s, want %s: %v", n, r.Outcome, want, r.Err)
		}
		if r.Outcome == channels.Written && r.ID == "" {
			t.Fatalf("order %d: no id", n)
		}
	}
	return got
}

// read gives what the remote holds, by id.
func (p *play) read(t *testing.T) map[string][]record.Value {
	t.Helper()
	r, err := p.con.Reader(t.Context(), channels.ReadRequest{Fields: p.w.Fields})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	out := map[string][]record.Value{}
	for range maxPages {
		page, err := r.ReadPage(t.Context())
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range page.Records {
			if rec.Err != nil {
				t.Errorf("%s: %v", rec.ID, rec.Err)
			}
			if !rec.Deleted {
				out[rec.ID] = rec.Values
			}
		}
	}
	t.Fatal("the listing does not end")
	return nil
}

// reads is how sent values read back.
func (w Writing) reads(sent []record.Value) []record.Value {
	if w.Reads == nil {
		return sent
	}
	out := make([]record.Value, len(sent))
	for i, v := range sent {
		out[i] = w.Reads(v)
	}
	return out
}
