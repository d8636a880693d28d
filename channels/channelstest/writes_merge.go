package channelstest

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/sync/record"
)

// merged: the ids of records that were merged lead to the one that is left, also
// after another merge: by a read of the old id, or by what the record that is left
// says of itself, or both.
func (w Writing) merged(t *testing.T, p *play) {
	if p.Merge == nil {
		return
	}
	first, second, third := p.create(t, 1), p.create(t, 2), p.create(t, 3)
	left := p.Merge(first, second)
	p.leads(t, left, first, second)
	last := p.Merge(third, left)
	p.leads(t, last, first, second, third, left)

	get, ok := p.con.(channels.Getter)
	if !ok {
		return
	}
	recs, err := get.Get(t.Context(), p.w.Fields, []string{second, last})
	if err != nil || len(recs) != 2 {
		t.Fatalf("%+v, error %v", recs, err)
	}
	if gone := recs[0]; gone.ID != second || !gone.Deleted || gone.Renamed == nil || gone.Renamed.To != last {
		t.Errorf("a read of %s: %+v, want one that is gone and has become %s", second, gone, last)
	}
	if there := recs[1]; there.ID != last || there.Deleted || there.Err != nil {
		t.Errorf("a read of %s: %+v", last, there)
	}
}

// leads checks that a listing has the record left, which names all other ids.
func (p *play) leads(t *testing.T, left string, ids ...string) {
	t.Helper()
	r, err := p.con.Reader(t.Context(), channels.ReadRequest{Fields: p.w.Fields})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	var rec *record.Record
	for range maxPages {
		page, err := r.ReadPage(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range page.Records {
			switch x := &page.Records[i]; {
			case x.ID == left && !x.Deleted:
				rec = x
			case slices.Contains(ids, x.ID) && !x.Deleted && x.ID != left:
				t.Errorf("%s is listed, although it was merged into %s", x.ID, left)
			}
		}
	}
	if rec == nil {
		t.Fatalf("%s is not listed", left)
	}
	for _, id := range ids {
		if id != left && (rec.Renamed == nil || !slices.Contains(rec.Renamed.From, id)) {
			t.Errorf("%s does not name %s, which was merged into it: %+v", left, id, rec.Renamed)
		}
	}
}
