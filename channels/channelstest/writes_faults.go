package channelstest

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
)

// lostCreate: the record is there and the order says that nobody knows; a look-up
// or a listing finds it, once.
func (w Writing) lostCreate(t *testing.T, p *play) {
	p.Lose()
	got, err := p.write(t, p.order(1))
	r := got[1]
	switch {
	case r.Outcome == channels.Unknown && r.ID == "":
	case r.Outcome == channels.Written && p.caps.Safety == channels.SafetyKey:
		// Repeated under its key inside the call.
	default:
		t.Fatalf("%+v, error %v", r, err)
	}
	if p.Count() != 1 || len(p.read(t)) != 1 {
		t.Fatalf("%d records, %d are read, want 1", p.Count(), len(p.read(t)))
	}
	if p.caps.Safety == channels.SafetyKey {
		again := p.all(t, channels.Written, p.order(1))[1]
		if _, there := p.read(t)[again.ID]; !there || p.Count() != 1 {
			t.Errorf("repeated under its key: %+v, %d records", again, p.Count())
		}
	}
}

func (w Writing) lostUpdate(t *testing.T, p *play) {
	id := p.create(t, 1)
	p.Lose()
	o := p.update(1, id, w.Sample(2)[w.Update])
	got, err := p.write(t, o)
	if r := got[1]; r.Outcome != channels.Written && r.Outcome != channels.Unknown {
		t.Errorf("%+v, error %v", r, err)
	}
	p.all(t, channels.Written, o)
	want := w.Sample(1)
	want[w.Update] = w.Sample(2)[w.Update]
	if read := p.read(t)[id]; !reflect.DeepEqual(read, w.reads(want)) {
		t.Errorf("%v, want %v", read, w.reads(want))
	}
}

func (w Writing) lostDelete(t *testing.T, p *play) {
	id := p.create(t, 1)
	p.Lose()
	o := channels.Order{N: 1, Op: channels.OrderDelete, ID: id}
	got, err := p.write(t, o)
	if r := got[1]; r.Outcome != channels.Written && r.Outcome != channels.Unknown {
		t.Errorf("%+v, error %v", r, err)
	}
	p.all(t, channels.Written, o)
	if p.Count() != 0 {
		t.Errorf("%d records", p.Count())
	}
}

// down: what never reached the remote is never unknown.
func (w Writing) down(t *testing.T, p *play) {
	p.Stop()
	got, err := p.write(t, p.order(1), p.order(2), channels.Order{N: 3, Op: channels.OrderDelete, ID: "1"})
	if fault.Of(err) != fault.Retryable {
		t.Errorf("class %s of %v", fault.Of(err), err)
	}
	for n, r := range got {
		if r.Outcome != channels.NotSent {
			t.Errorf("order %d: %s, want not_sent", n, r.Outcome)
		}
	}
}

// trouble: a failing remote is asked about a few records and not about all.
func (w Writing) trouble(t *testing.T, p *play) {
	const n = 1000
	p.Fail(slices.Repeat([]int{http.StatusInternalServerError}, n)...)
	var orders []channels.Order
	for i := range n {
		orders = append(orders, p.order(i))
	}
	got, err := p.write(t, orders...)
	if c := fault.Of(err); c != fault.Retryable && c != fault.RateLimited { // the breaker asks to wait
		t.Errorf("class %s of %v", c, err)
	}
	unknown := 0
	for n, r := range got {
		switch r.Outcome {
		case channels.Unknown:
			unknown++
		case channels.NotSent:
		default:
			t.Errorf("order %d: %s", n, r.Outcome)
		}
	}
	if unknown == 0 || unknown > max(50, 10*p.caps.Batch) {
		t.Errorf("%d of %d creates are unknown", unknown, n)
	}
}

// wait: what was turned away for being too much is repeated or given back, never
// unknown.
func (w Writing) wait(t *testing.T, p *play) {
	p.Fail(http.StatusTooManyRequests)
	got, err := p.write(t, p.order(1))
	if r, ok := got[1]; ok && r.Outcome != channels.Written && r.Outcome != channels.NotSent {
		t.Errorf("%+v", r)
	}
	if written := got[1].Outcome == channels.Written; written != (p.Count() == 1) || written == (fault.Of(err) == fault.RateLimited) {
		t.Errorf("%+v, error %v, %d records", got[1], err, p.Count())
	}
}

func (w Writing) cancelled(t *testing.T, p *play) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := p.to.Write(ctx, w.Fields, []channels.Order{p.order(1), p.order(2)})
	if err == nil {
		t.Error("no error")
	}
	for _, r := range got {
		if r.Outcome != channels.NotSent {
			t.Errorf("%+v", r)
		}
	}
	if p.Count() != 0 {
		t.Errorf("%d records", p.Count())
	}
}

func (w Writing) together(t *testing.T, p *play) {
	const each = 20
	var wg sync.WaitGroup
	for part := range 2 {
		wg.Go(func() {
			var orders []channels.Order
			for i := range each {
				orders = append(orders, p.order(part*each+i))
			}
			got, err := p.to.Write(t.Context(), w.Fields, orders)
			if err != nil || len(got) != each {
				t.Errorf("%d results, error %v", len(got), err)
			}
			for _, r := range got {
				if r.Outcome != channels.Written || r.N < part*each || r.N >= (part+1)*each {
					t.Errorf("%+v", r)
				}
			}
		})
	}
	wg.Wait()
	if p.Count() != 2*each {
		t.Errorf("%d records", p.Count())
	}
}
