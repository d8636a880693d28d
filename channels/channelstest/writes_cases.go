package channelstest

import (
	"net/http"
	"reflect"
	"testing"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

func (w Writing) capabilities(t *testing.T, p *play) {
	if !p.caps.Writes() || p.caps.Batch < 1 || p.caps.Settle < 0 {
		t.Errorf("%+v", p.caps)
	}
	classes := map[string]bool{channels.SafetyKey: true, channels.SafetyUnique: true, channels.SafetyLookup: true, channels.SafetyNone: true}
	if p.caps.Create != classes[p.caps.Safety] {
		t.Errorf("create %t has class %q", p.caps.Create, p.caps.Safety)
	}
	if w.Type.Info().CreateSafety == "" {
		t.Error("the type does not tell its class of creates")
	}
}

func (w Writing) roundTrip(t *testing.T, p *play) {
	id := p.create(t, 1)
	if got := p.read(t); p.Count() != 1 || !reflect.DeepEqual(got[id], w.reads(w.Sample(1))) {
		t.Fatalf("after the create: %v", got)
	}
	changed := w.Sample(2)[w.Update]
	p.all(t, channels.Written, p.update(1, id, changed))
	want := w.Sample(1)
	want[w.Update] = changed
	if got := p.read(t); p.Count() != 1 || !reflect.DeepEqual(got[id], w.reads(want)) {
		t.Fatalf("after the update: %v, want %v", got, w.reads(want))
	}
	p.all(t, channels.Written, channels.Order{N: 1, Op: channels.OrderDelete, ID: id})
	if got := p.read(t); p.Count() != 0 || len(got) != 0 {
		t.Fatalf("after the delete: %v", got)
	}
}

// echo: what an answer says is what is read afterwards, so that nothing looks
// changed by the other side.
func (w Writing) echo(t *testing.T, p *play) {
	created := p.all(t, channels.Written, p.order(1))[1]
	p.sameAsRead(t, created)
	updated := p.all(t, channels.Written, p.update(1, created.ID, w.Sample(2)[w.Update]))[1]
	p.sameAsRead(t, updated)
	if p.caps.Answers && (created.Record == nil || updated.Record == nil) {
		t.Error("the record was promised and did not come")
	}
}

func (p *play) sameAsRead(t *testing.T, r channels.Result) {
	t.Helper()
	if r.Record == nil {
		return
	}
	read := p.read(t)[r.ID]
	for i, v := range r.Record.Values {
		if v.Has() && v != read[i] {
			t.Errorf("field %s: the answer says %+v, a listing %+v", p.w.Fields[i], v, read[i])
		}
	}
}

func (w Writing) nullAndAbsent(t *testing.T, p *play) {
	id := p.create(t, 1)
	if p.caps.Whole {
		return // an update of one field is none
	}
	p.all(t, channels.Written, channels.Order{N: 1, Op: channels.OrderUpdate, ID: id, Values: make([]record.Value, len(w.Fields))})
	if got := p.read(t)[id]; !reflect.DeepEqual(got, w.reads(w.Sample(1))) {
		t.Errorf("an update of nothing: %v", got)
	}
	p.sameAsRead(t, p.all(t, channels.Written, p.update(1, id, record.NullValue))[1])
	want := w.reads(w.Sample(1))
	got := p.read(t)[id]
	if len(got) != len(want) || !got[w.Update].Empty() {
		t.Fatalf("null did not clear the field: %v", got)
	}
	want[w.Update] = got[w.Update]
	if !reflect.DeepEqual(got, want) {
		t.Errorf("null in one field: %v, want %v", got, want)
	}
}

func (w Writing) constants(t *testing.T, p *play) {
	fixed, own := w.Sample(7)[w.Update], w.Sample(2)[w.Update]
	set := []channels.PathValue{{Path: w.Fields[w.Update], Value: fixed}}
	var orders []channels.Order
	for n, v := range []record.Value{{}, own} {
		o := p.order(n)
		o.Values[w.Update], o.Set = v, set
		orders = append(orders, o)
	}
	got := p.all(t, channels.Written, orders...)
	read := p.read(t)
	for n, want := range w.reads([]record.Value{fixed, own}) {
		if v := read[got[n].ID][w.Update]; v != want {
			t.Errorf("order %d: %+v, want %+v", n, v, want)
		}
	}
}

func (w Writing) many(t *testing.T, p *play) {
	n := p.caps.Batch*2 + 7
	var orders []channels.Order
	for i := range n {
		orders = append(orders, p.order(i))
	}
	got := p.all(t, channels.Written, orders...)
	read := p.read(t)
	if p.Count() != n || len(read) != n {
		t.Fatalf("%d records, %d are read, want %d", p.Count(), len(read), n)
	}
	for i, r := range got {
		if !reflect.DeepEqual(read[r.ID], w.reads(w.Sample(i))) {
			t.Errorf("order %d became %v", i, read[r.ID])
		}
	}
}

func (w Writing) badRecord(t *testing.T, p *play) {
	if w.Bad == nil {
		return
	}
	id := p.create(t, 9)
	bad := p.order(1)
	bad.Values = w.Bad(1)
	got, err := p.write(t, p.order(0), bad, p.order(2),
		channels.Order{N: 3, Op: channels.OrderUpdate, ID: id, Values: w.Bad(9)}, p.order(4))
	if err != nil || len(got) != 5 {
		t.Fatalf("%d results, error %v", len(got), err)
	}
	for n, want := range []channels.Outcome{channels.Written, channels.Refused, channels.Written, channels.Refused, channels.Written} {
		if got[n].Outcome != want {
			t.Errorf("order %d: %s, want %s: %v", n, got[n].Outcome, want, got[n].Err)
		}
		if want == channels.Refused && fault.Of(got[n].Err) != fault.Permanent {
			t.Errorf("order %d: class %s of %v", n, fault.Of(got[n].Err), got[n].Err)
		}
	}
	if p.Count() != 4 {
		t.Errorf("%d records, want 4", p.Count())
	}
}

func (w Writing) duplicate(t *testing.T, p *play) {
	if w.Identity == nil {
		return
	}
	id := p.create(t, 1)
	second := p.order(2)
	for _, i := range w.Identity {
		second.Values[i] = w.Sample(1)[i]
	}
	got, err := p.write(t, second, p.order(3))
	if err != nil {
		t.Fatal(err)
	}
	if r := got[2]; r.Outcome != channels.Exists || r.ID != "" && r.ID != id {
		t.Errorf("%+v, want exists %s", r, id)
	}
	if got[3].Outcome != channels.Written || p.Count() != 2 {
		t.Errorf("the order beside it: %+v; %d records", got[3], p.Count())
	}
	if read := p.read(t)[id]; !reflect.DeepEqual(read, w.reads(w.Sample(1))) {
		t.Errorf("the record that was met has changed: %v", read)
	}
}

func (w Writing) gone(t *testing.T, p *play) {
	stays, gone, goes := p.create(t, 1), p.create(t, 2), p.create(t, 3)
	p.Remove(gone)
	p.Remove(goes)
	got, err := p.write(t,
		p.update(1, stays, w.Sample(5)[w.Update]), p.update(2, gone, w.Sample(6)[w.Update]),
		channels.Order{N: 3, Op: channels.OrderDelete, ID: goes})
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]channels.Outcome{1: channels.Written, 2: channels.Gone, 3: channels.Written} {
		if got[n].Outcome != want {
			t.Errorf("order %d: %s, want %s: %v", n, got[n].Outcome, want, got[n].Err)
		}
	}
	if p.Count() != 1 {
		t.Errorf("%d records, want 1", p.Count())
	}
}

func (w Writing) find(t *testing.T, p *play) {
	f, ok := p.con.(channels.Finder)
	if !ok || w.Identity == nil {
		return
	}
	ids := []string{p.create(t, 0), p.create(t, 1)}
	identity := func(n int) []record.Value {
		var out []record.Value
		for _, i := range w.Identity {
			out = append(out, w.Sample(n)[i])
		}
		return out
	}
	nothing := make([]record.Value, len(w.Identity))
	got, err := f.Find(t.Context(), w.Fields, w.Identity, [][]record.Value{identity(1), identity(5), identity(0), nothing})
	p.clean(t, err)
	if err != nil || len(got) != 4 {
		t.Fatalf("%v, error %v", got, err)
	}
	for i, n := range map[int]int{0: 1, 2: 0} {
		if len(got[i]) != 1 || got[i][0].ID != ids[n] || !reflect.DeepEqual(got[i][0].Values, w.reads(w.Sample(n))) {
			t.Errorf("identity of sample %d: %+v, want %s", n, got[i], ids[n])
		}
	}
	if len(got[1])+len(got[3]) > 0 {
		t.Errorf("identities of no record: %v, %v", got[1], got[3])
	}
	if none, err := f.Find(t.Context(), w.Fields, w.Identity, nil); err != nil || len(none) != 0 {
		t.Errorf("no identities: %v, error %v", none, err)
	}
	if _, err := f.Find(t.Context(), w.Fields, []int{len(w.Fields)}, [][]record.Value{{record.T("x")}}); fault.CodeOf(err) != fault.CodeUsage {
		t.Errorf("a field that is not there: %v", err)
	}
}

func (w Writing) nonsense(t *testing.T, p *play) {
	orders := []channels.Order{
		{N: 1, Op: channels.OrderUpdate, ID: "", Values: w.Sample(1)},
		{N: 2, Op: channels.OrderDelete, ID: ""},
		{N: 3, Values: w.Sample(3)},
	}
	p.all(t, channels.Refused, orders...)
	if got, err := p.write(t); err != nil || len(got) != 0 {
		t.Errorf("no orders: %v, error %v", got, err)
	}
	if p.Count() != 0 {
		t.Errorf("%d records", p.Count())
	}
}

func (w Writing) refusedCredential(t *testing.T, p *play) {
	id := p.create(t, 1)
	p.Fail(http.StatusUnauthorized)
	got, err := p.write(t, p.update(1, id, w.Sample(2)[w.Update]))
	if fault.Of(err) != fault.Permanent || fault.CodeOf(err) != fault.CodeAuth {
		t.Errorf("%v, want a permanent error with code auth", err)
	}
	if r, ok := got[1]; ok && r.Outcome != channels.NotSent {
		t.Errorf("%+v", r)
	}
}
