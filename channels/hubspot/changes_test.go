package hubspot_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	emulator "github.com/tandem-sync/tandem/emulate/hubspot"
	"github.com/tandem-sync/tandem/sync/record"
)

// A search index that lags costs nothing as long as the next run's watermark
// lies further back than the lag.
func TestOverlapCoversALaggingIndex(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{IndexLag: 3 * time.Minute}, "")
	ids := a.Seed(20)
	a.Advance(time.Hour)
	a.Edit(map[string]string{"phone": "new"}, ids[7])
	started := a.Now()
	if got := a.all(t, channels.ReadRequest{Since: started.Add(-5 * time.Minute)}); len(got) != 0 {
		t.Fatalf("the index shows a change at once: %v", got)
	}
	a.Advance(5 * time.Minute)
	got := a.all(t, channels.ReadRequest{Since: started.Add(-5 * time.Minute)})
	if len(got) != 1 || got[0].ID != ids[7] || got[0].Values[3] != record.T("new") {
		t.Fatalf("got %v", got)
	}
}

// What the index still shows but is gone, or is newer than the index says, is
// read as it is.
func TestReadsTheContactBehindAStaleIndex(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	ids := a.Seed(3)
	a.SetIndexLag(time.Hour)
	a.Advance(time.Minute)
	a.Archive(ids[0])
	a.Edit(map[string]string{"phone": "newer"}, ids[1])
	got := map[string]record.Record{}
	for _, r := range a.all(t, channels.ReadRequest{Since: morning}) {
		got[r.ID] = r // the archived one comes twice: from the index and from the list
	}
	if !got[ids[0]].Deleted || got[ids[0]].Values != nil {
		t.Errorf("archived: %+v", got[ids[0]])
	}
	if r := got[ids[1]]; r.Values[3] != record.T("newer") || !r.Modified.Equal(morning.Add(time.Minute)) {
		t.Errorf("edited: %+v", r)
	}
}

func TestArchivedContactsAreTombstones(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	ids := a.Seed(400)
	a.Archive(ids[:150]...)
	a.Advance(time.Hour)
	a.Archive(ids[150:290]...)
	a.Advance(time.Hour)
	a.Restore(ids[150])
	a.Purge(ids[151])
	got := byID(t, a.all(t, channels.ReadRequest{Since: morning.Add(30 * time.Minute)}))
	if len(got) != 139 {
		t.Fatalf("got %d records, want 138 tombstones and a restored contact", len(got))
	}
	for _, id := range ids[152:290] {
		if r := got[id]; !r.Deleted || !r.Modified.Equal(morning.Add(time.Hour)) {
			t.Fatalf("%s: %+v", id, r)
		}
	}
	if r := got[ids[150]]; r.Deleted || len(r.Values) != len(fields) {
		t.Errorf("restored: %+v", r)
	}
}

func TestArchivedOnlyWhereItIsWanted(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string][2]int{"": {1, 1}, `{"archived":"full"}`: {1, 0}, `{"archived":"never"}`: {0, 0}} {
		a := open(t, emulator.Config{}, remote)
		a.Archive(a.Seed(3)...)
		full, changed := a.all(t, channels.ReadRequest{}), a.all(t, channels.ReadRequest{Since: morning})
		if len(full) != 3*want[0] || len(changed) != 3*want[1] {
			t.Errorf("%s: %d and %d tombstones", remote, len(full), len(changed))
		}
		if got := a.c.Capabilities(); got.Tombstones != (want[0] == 1) || !got.Incremental || !got.Enumerates || got.Drifts {
			t.Errorf("%s: %+v", remote, got)
		}
	}
}

// Contacts that are changed while they are listed must neither be missed nor
// keep the listing going for ever.
func TestChangesWhileAListingRuns(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, `{"history":"never"}`)
	ids := a.Seed(900)
	for i := range ids {
		a.Advance(time.Millisecond)
		a.Edit(map[string]string{"phone": "first"}, ids[i])
	}
	turn := 0
	a.OnCall(func(op emulator.Op) {
		if op == emulator.OpSearch { // one that was read and one that was not move to the end
			a.Advance(time.Second)
			a.Edit(map[string]string{"phone": "again"}, ids[turn*3], ids[899-turn])
			a.Advance(2 * time.Second)
			turn++
		}
	})
	got := a.all(t, channels.ReadRequest{Since: morning})
	found := map[string]bool{}
	for _, r := range got {
		found[r.ID] = true
	}
	moved := map[string]bool{}
	for i := range turn {
		moved[ids[i*3]], moved[ids[899-i]] = true, true
	}
	for _, id := range ids {
		if !found[id] && !moved[id] {
			t.Errorf("contact %s was missed", id)
		}
	}
	if turn > 10 {
		t.Errorf("%d searches: the listing chases changes", turn)
	}
	// What moved is the next run's.
	a.OnCall(nil)
	for _, r := range a.all(t, channels.ReadRequest{Since: morning.Add(900 * time.Millisecond)}) {
		found[r.ID] = true
	}
	if len(found) != 900 {
		t.Errorf("%d of 900 contacts after the second run", len(found))
	}
}

// More changes than a page holds between any two searches: the listing ends all
// the same, at the time it began.
func TestDoesNotChaseChanges(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, `{"history":"never"}`)
	ids := a.Seed(1200)
	turn := 0
	a.OnCall(func(op emulator.Op) {
		if op == emulator.OpSearch && turn < 100 {
			turn++
			a.Advance(5 * time.Second)
			for i := range 300 {
				a.Advance(time.Millisecond)
				a.Edit(map[string]string{"phone": fmt.Sprint(turn)}, ids[(turn*300+i)%len(ids)])
			}
		}
	})
	a.all(t, channels.ReadRequest{Since: morning})
	if turn > 12 {
		t.Errorf("the listing took %d searches", turn)
	}
}
