package channelstest

import (
	"reflect"
	"testing"

	"github.com/tandem-sync/tandem/channels"
)

// precondition: a change of a record that is not as it was when it was read is
// not carried out; one of a record that is, is.
func (w Writing) precondition(t *testing.T, p *play) {
	if !p.caps.Precondition {
		return
	}
	id := p.create(t, 1)
	read := p.version(t, id)
	if again := p.version(t, id); again != read {
		t.Errorf("two reads of one state tell the versions %q and %q", read, again)
	}
	order := p.update(1, id, w.Sample(2)[w.Update])
	order.Version = read
	p.all(t, channels.Written, order)
	held := p.read(t)[id]

	stale := p.update(1, id, w.Sample(3)[w.Update])
	stale.Version = read
	p.all(t, channels.Changed, stale)
	remove := channels.Order{N: 1, Op: channels.OrderDelete, ID: id, Version: read}
	p.all(t, channels.Changed, remove)
	if got := p.read(t)[id]; p.Count() != 1 || !reflect.DeepEqual(got, held) {
		t.Errorf("after changes of a state that had passed: %v, want %v", got, held)
	}
	remove.Version = p.version(t, id)
	p.all(t, channels.Written, remove)
	if p.Count() != 0 {
		t.Errorf("%d records are left", p.Count())
	}
	// What is not there is gone, whatever version is given.
	p.all(t, channels.Gone, stale)
	p.all(t, channels.Written, remove)
}

// version reads the version of a record, which must be told.
func (p *play) version(t *testing.T, id string) string {
	t.Helper()
	get, ok := p.con.(channels.Getter)
	if !ok {
		t.Fatal("a connector with preconditions must be a channels.Getter")
	}
	recs, err := get.Get(t.Context(), p.w.Fields, []string{id})
	if err != nil || len(recs) != 1 || recs[0].Err != nil {
		t.Fatalf("read %s: %+v, error %v", id, recs, err)
	}
	if recs[0].Version == "" {
		t.Fatal("no version")
	}
	return recs[0].Version
}
