package hubspot_test

import (
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	emulator "github.com/tandem-sync/tandem/emulate/hubspot"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

func get(tb testing.TB, a *account, ids ...string) []record.Record {
	tb.Helper()
	recs, err := a.c.(channels.Getter).Get(tb.Context(), fields, ids)
	if err != nil {
		tb.Fatal(err)
	}
	if len(recs) != len(ids) {
		tb.Fatalf("%d records for %d ids", len(recs), len(ids))
	}
	for i, r := range recs {
		if r.ID != ids[i] {
			tb.Fatalf("record %d is %q, want %q", i, r.ID, ids[i])
		}
	}
	return recs
}

func TestGetReadsInBatchesAndInOrder(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	ids := a.Seed(130)
	a.Archive(ids[7])
	a.Purge(ids[8])
	a.Merge(ids[10], ids[9])
	ask := append([]string{"4711", "not a number", ids[5], ids[5]}, ids...)
	for i, r := range get(t, a, ask...) {
		gone := i < 2 || i >= 4 && (i-4 == 7 || i-4 == 8 || i-4 == 9)
		if r.Err != nil || r.Deleted != gone || r.Deleted == (r.Values != nil) {
			t.Errorf("%d, %s: %+v", i, ask[i], r)
		}
	}
	if n := a.Calls(emulator.OpBatchRead); n != 3 {
		t.Errorf("%d batches, want 3 of up to 50", n)
	}
	if n := a.Calls(emulator.OpGet); n != 1 {
		t.Errorf("%d single reads, want one for the merged contact", n)
	}
	if n := a.Answered(400); n != 0 {
		t.Errorf("%d batches were refused", n)
	}
}

// A row that fails costs that row.
func TestRowsOfAMultiStatusAnswer(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	ids := a.Seed(60)
	a.Inject(
		emulator.Row(ids[1], "VALIDATION_ERROR", "no good: "+token),
		emulator.Row(ids[2], "RATE_LIMITS", "too fast"),
		emulator.Row(ids[3], "INTERNAL_ERROR", "oops").For(2),
		emulator.Silence(ids[4]),
		emulator.Row(ids[55], "OBJECT_NOT_FOUND", "gone"),
	)
	for i, r := range get(t, a, ids...) {
		switch i {
		case 1, 3:
			want := fault.Permanent
			if i == 3 {
				want = fault.Retryable
			}
			if fault.Of(r.Err) != want || fault.CodeOf(r.Err) != "remote_row" || r.Values != nil || len(r.Raw) == 0 {
				t.Errorf("row %d: %+v", i, r)
			}
			noSecret(t, r.Err)
		case 55:
			if !r.Deleted || r.Err != nil {
				t.Errorf("row %d: %+v", i, r)
			}
		default:
			if r.Err != nil || r.Deleted || len(r.Values) != len(fields) {
				t.Errorf("row %d: %+v", i, r)
			}
		}
	}
	if n := a.Answered(207); n != 3 {
		t.Errorf("%d multi-status answers, want 3", n)
	}
	if n := a.Calls(emulator.OpGet); n != 1 {
		t.Errorf("%d single reads for the row without a word", n)
	}
}

// The same inside a listing of changes.
func TestFailedRowsOfAListing(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	ids := a.Seed(300)
	a.Inject(emulator.Row(ids[120], "VALIDATION_ERROR", "no good"))
	bad := 0
	got := a.all(t, channels.ReadRequest{Since: morning})
	for _, r := range got {
		if r.Err != nil {
			bad++
			if r.ID != ids[120] {
				t.Errorf("%s: %v", r.ID, r.Err)
			}
		}
	}
	if bad != 1 || len(got) != 300 {
		t.Errorf("%d bad of %d", bad, len(got))
	}
}

func TestQuotaOfTheLastAnswer(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{Limits: emulator.Limits{Burst: 190, Daily: 650_000, Search: -1}}, `{"history":"never","archived":"never"}`)
	if _, ok := a.ch.Limits(); ok {
		t.Error("a quota before the first answer")
	}
	a.Seed(3)
	if err := a.ch.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.all(t, channels.ReadRequest{Since: morning}) // searches tell nothing
	got, ok := a.ch.Limits()
	if !ok || got.Burst != 190 || got.BurstLeft != 189 || got.Window != 10*time.Second || got.Daily != 650_000 || got.DailyLeft != 649_999 || !got.At.Equal(morning) {
		t.Errorf("%+v", got)
	}
	if s := got.String(); s != "189 of 190 left per 10s, 649999 of 650000 left per day" {
		t.Error(s)
	}
}

// Calls of one batch run side by side, but no more of them than allowed.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	ids := a.Seed(600)
	b := connect(t, a.Portal, a.url, `,"concurrency":3`, "")
	now := make(chan int, 1)
	now <- 0
	most := 0
	both := make(chan struct{}, 100)
	a.OnCall(func(emulator.Op) {
		n := <-now
		most = max(most, n+1)
		now <- n + 1
		select { // wait for another call, or a moment
		case both <- struct{}{}:
		default:
		}
		time.Sleep(5 * time.Millisecond)
		n = <-now
		now <- n - 1
	})
	get(t, b, ids...)
	<-now
	if most < 2 || most > 3 {
		t.Errorf("%d calls at a time, want 2 or 3", most)
	}
}

// Newer accounts give a merged contact an id of its own: it is read as a new one,
// and both ids that lead to it are gone.
func TestContactsMergedIntoANewOne(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{MergeAnew: true}, "")
	ids := a.Seed(5)
	left := a.Merge(ids[1], ids[3])
	got, err := a.c.(channels.Getter).Get(t.Context(), fields, []string{ids[0], ids[1], ids[3], left})
	if err != nil {
		t.Fatal(err)
	}
	for i, gone := range []bool{false, true, true, false} {
		if got[i].Deleted != gone || got[i].Err != nil {
			t.Errorf("%+v", got[i])
		}
	}
	recs := byID(t, a.all(t, channels.ReadRequest{Since: morning}))
	if len(recs) != 4 || recs[left].ID != left || recs[ids[1]].ID != "" {
		t.Errorf("%v", recs)
	}
}
