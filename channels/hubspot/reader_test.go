package hubspot_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	emulator "github.com/tandem-sync/tandem/emulate/hubspot"
	"github.com/tandem-sync/tandem/sync/record"
)

func TestListsAllContactsAndTheArchivedOnes(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	ids := a.Seed(250)
	a.Archive(ids[3], ids[249])
	got := byID(t, a.all(t, channels.ReadRequest{}))
	if len(got) != 250 {
		t.Fatalf("got %d records, want 250", len(got))
	}
	for i, id := range ids {
		r := got[id]
		if want := i == 3 || i == 249; r.Deleted != want {
			t.Errorf("%s: deleted is %v", id, r.Deleted)
		}
		if !r.Deleted && r.Values[0] != record.T(fmt.Sprintf("person%d@example.com", i)) {
			t.Errorf("%s: %v", id, r.Values)
		}
		if !r.Modified.Equal(morning) {
			t.Errorf("%s: modified %v", id, r.Modified)
		}
	}
	if n := a.Calls(emulator.OpList); n != 3 {
		t.Errorf("%d pages, want 3 of 100", n)
	}
	if n := a.Calls(emulator.OpBatchRead); n != 0 {
		t.Errorf("%d batch reads in a full listing", n)
	}
}

func TestKeepsNullEmptyAndAbsentApart(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	a.Create(map[string]string{"email": "a@example.com", "firstname": ""})
	for name, req := range map[string]channels.ReadRequest{"list": {}, "search": {Since: morning.Add(-time.Hour)}} {
		req.Fields = []string{"firstname", "lastname", "no_such_property", "email", "email", "hs_object_id", "lastmodifieddate"}
		got := a.all(t, req)
		want := []record.Value{
			record.T(""), record.NullValue,
			{},
			record.T("a@example.com"), record.T("a@example.com"),
			record.T("100051"), record.T("2026-11-24T09:00:00.000Z"),
		}
		if len(got) != 1 || !slices.Equal(got[0].Values, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestReadsWhatChangedWithTheTimesOfEachProperty(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	ids := a.Seed(600)
	a.Advance(time.Hour)
	a.Edit(map[string]string{"phone": "1"}, ids[10:400]...)
	a.Advance(time.Minute)
	a.Edit(map[string]string{"lastname": "Byron"}, ids[10])
	a.Edit(map[string]string{"firstname": ""}, ids[11])

	got := byID(t, a.all(t, channels.ReadRequest{Since: morning.Add(30 * time.Minute)}))
	if len(got) != 390 {
		t.Fatalf("got %d records, want 390", len(got))
	}
	hour := morning.Add(time.Hour)
	for _, x := range []struct {
		id    string
		times []time.Time
	}{
		{ids[10], []time.Time{morning, morning, hour.Add(time.Minute), hour}},
		{ids[11], []time.Time{morning, hour.Add(time.Minute), morning, hour}},
		{ids[12], []time.Time{morning, morning, morning, hour}},
	} {
		if r := got[x.id]; !slices.EqualFunc(r.ChangedAt, x.times, time.Time.Equal) {
			t.Errorf("%s: changed at %v, want %v", x.id, r.ChangedAt, x.times)
		}
	}
	if !got[ids[10]].Modified.Equal(hour.Add(time.Minute)) {
		t.Errorf("modified %v", got[ids[10]].Modified)
	}
}

func TestHistoryOnlyWhereItIsWanted(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		remote                 string
		list, search, byID     bool
		listCalls, searchBatch int
	}{
		{"", false, true, true, 2, 3},
		{`{"history":"always"}`, true, true, true, 3, 3},
		{`{"history":"never"}`, false, false, false, 2, 0},
	} {
		a := open(t, emulator.Config{}, x.remote)
		ids := a.Seed(120)
		full := a.all(t, channels.ReadRequest{})
		if n := a.Calls(emulator.OpList); n != x.listCalls {
			t.Errorf("%s: %d listing calls, want %d", x.remote, n, x.listCalls)
		}
		changed := a.all(t, channels.ReadRequest{Since: morning})
		if n := a.Calls(emulator.OpBatchRead); n != x.searchBatch {
			t.Errorf("%s: %d batch reads, want %d", x.remote, n, x.searchBatch)
		}
		one, err := a.c.(channels.Getter).Get(t.Context(), fields, ids[:1])
		if err != nil {
			t.Fatal(err)
		}
		for _, y := range []struct {
			what string
			recs []record.Record
			want bool
			n    int
		}{{"list", full, x.list, 120}, {"search", changed, x.search, 120}, {"get", one, x.byID, 1}} {
			if len(y.recs) != y.n {
				t.Fatalf("%s %s: %d records", x.remote, y.what, len(y.recs))
			}
			if got := y.recs[0].ChangedAt != nil; got != y.want {
				t.Errorf("%s %s: has times is %v", x.remote, y.what, got)
			}
		}
	}
}

// More contacts changed than a search reaches, many of them at the same time.
func TestReadsChangesPastTheSearchWindow(t *testing.T) {
	t.Parallel()
	for name, remote := range map[string]string{"with history": "", "without": `{"history":"never"}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := open(t, emulator.Config{}, remote)
			ids := a.Seed(25_000)
			a.Advance(time.Hour)
			a.Edit(map[string]string{"phone": "same"}, ids[:12_000]...) // one time: more than the window
			for i := 12_000; i < 25_000; i += 130 {
				a.Advance(time.Millisecond)
				a.Edit(map[string]string{"phone": "own"}, ids[i:min(i+130, len(ids))]...)
			}
			got := byID(t, a.all(t, channels.ReadRequest{Since: morning.Add(time.Minute)}))
			if len(got) != 25_000 {
				t.Fatalf("got %d records, want 25000", len(got))
			}
			for i, id := range ids {
				want := "own"
				if i < 12_000 {
					want = "same"
				}
				if got[id].Values[3] != record.T(want) {
					t.Fatalf("%s: %v", id, got[id])
				}
			}
			if n := a.Answered(400); n != 0 {
				t.Errorf("%d searches were refused", n)
			}
			if n := a.Calls(emulator.OpSearch); n > 300 {
				t.Errorf("%d searches for 25000 contacts", n)
			}
		})
	}
}

// A listing that is broken off after any page goes on where it stood.
func TestResumesAtEveryCursor(t *testing.T) {
	t.Parallel()
	for name, since := range map[string]time.Time{"full": {}, "changes": morning.Add(time.Minute)} {
		a := open(t, emulator.Config{}, "")
		ids := a.Seed(1000)
		a.Advance(time.Hour)
		a.Edit(map[string]string{"phone": "tie"}, ids[:450]...)
		a.Advance(time.Hour)
		a.Edit(map[string]string{"phone": "x"}, ids[450:900]...)
		a.Archive(ids[900:990]...)
		want := byID(t, a.all(t, channels.ReadRequest{Since: since}))
		pages := 0
		for ; ; pages++ {
			got := map[string]record.Record{}
			var from channels.Cursor
			r := a.reader(t, channels.ReadRequest{Since: since})
			for k := 0; ; k++ {
				if k == pages { // the process dies here
					_ = r.Close()
					r = a.reader(t, channels.ReadRequest{Since: since, From: from})
				}
				page, err := r.ReadPage(t.Context())
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				maps.Copy(got, byID(t, page.Records))
				if from = page.Next; len(from) > 2<<10 {
					t.Fatalf("cursor of %d bytes", len(from))
				}
			}
			if len(got) != len(want) {
				t.Fatalf("%s, broken off after page %d: %d records, want %d", name, pages, len(got), len(want))
			}
			for id, w := range want {
				if g := got[id]; g.Deleted != w.Deleted || !slices.Equal(g.Values, w.Values) || !g.Modified.Equal(w.Modified) {
					t.Fatalf("%s, page %d: %s is %v, want %v", name, pages, id, g, w)
				}
			}
			if from == nil || strings.Contains(string(from), `"end"`) && pages > 20 {
				break
			}
		}
		if pages < 5 {
			t.Errorf("%s: only %d pages", name, pages)
		}
	}
}

func TestUntilDropsWhatIsLater(t *testing.T) {
	t.Parallel()
	for _, remote := range []string{"", `{"history":"never"}`} {
		a := open(t, emulator.Config{}, remote)
		ids := a.Seed(4)
		a.Advance(time.Hour)
		a.Edit(map[string]string{"phone": "1"}, ids[0])
		a.Advance(time.Hour)
		a.Edit(map[string]string{"phone": "2"}, ids[1])
		a.Archive(ids[2])
		until := morning.Add(90 * time.Minute)
		if got := a.all(t, channels.ReadRequest{Since: morning.Add(time.Minute), Until: until}); len(got) != 1 || got[0].ID != ids[0] {
			t.Errorf("window: %v", got)
		}
		if got := a.all(t, channels.ReadRequest{Until: until}); len(got) != 2 {
			t.Errorf("without a beginning: %v", got)
		}
	}
}

func TestTellsTotalAndTimes(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	a.Seed(500)
	r := a.reader(t, channels.ReadRequest{Since: morning})
	listed := false
	for {
		page, err := r.ReadPage(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if page.Total != 500 || !page.RemoteNow.Equal(morning) || !page.FetchStarted.Equal(morning) || page.Bytes == 0 {
			t.Errorf("%d %v %v %d", page.Total, page.RemoteNow, page.FetchStarted, page.Bytes)
		}
		listed = page.Listed
	}
	if !listed {
		t.Error("the last page does not say that the listing has ended")
	}
	if _, err := r.ReadPage(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

// So many properties that an address cannot hold them.
func TestManyProperties(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	props, names := map[string]string{}, []string{}
	for i := range 400 {
		n := fmt.Sprintf("a_rather_long_name_of_a_property_%03d", i)
		props[n], names = fmt.Sprint(i), append(names, n)
	}
	for range 130 {
		a.Create(props)
	}
	got := a.all(t, channels.ReadRequest{Fields: names})
	if len(got) != 130 || got[129].Values[399] != record.T("399") || got[0].ChangedAt != nil {
		t.Fatalf("got %d records", len(got))
	}
	if n := a.Calls(emulator.OpBatchRead); n != 2 {
		t.Errorf("%d batch reads, want 2 of up to 100", n)
	}
}
