package demo_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/internal/demo"
)

// get calls the remote in-process, repeating what is answered 429.
func get(t *testing.T, r *demo.Remote, target string, into any) int {
	t.Helper()
	for range 3 {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody))
		if w.Code == http.StatusTooManyRequests {
			if w.Header().Get("Retry-After") != "1" {
				t.Error("429 without Retry-After")
			}
			continue
		}
		if into != nil {
			if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
				t.Fatalf("%s: %q: %v", target, w.Body, err)
			}
		}
		return w.Code
	}
	t.Fatal("refused three times in a row")
	return 0
}

type listing struct {
	Items []demo.Contact
	IDs   []struct{ ID string }
	Total int
}

func TestListingPagesThroughEverything(t *testing.T) {
	t.Parallel()
	r := demo.New(demo.Options{Contacts: 1230, Seed: 1})
	seen := map[string]bool{}
	var last time.Time
	for page := 1; ; page++ {
		var l listing
		get(t, r, "/contacts?per_page=500&page="+strconv.Itoa(page), &l)
		if l.Total != 1230 {
			t.Fatalf("total = %d", l.Total)
		}
		if len(l.Items) == 0 {
			break
		}
		if len(l.Items) > 100 {
			t.Errorf("page of %d, the remote caps at 100", len(l.Items))
		}
		for _, c := range l.Items {
			seen[c.ID] = true
			if c.Updated.Before(last) || time.Since(c.Updated) > 366*24*time.Hour || time.Since(c.Updated) < time.Hour {
				t.Fatalf("%s was updated %v, after %v", c.ID, c.Updated, last)
			}
			last = c.Updated
		}
	}
	if len(seen) != 1230 {
		t.Errorf("saw %d contacts of 1230", len(seen))
	}
	if calls, refused := r.Calls(); refused != calls/9 {
		t.Errorf("refused %d of %d calls", refused, calls)
	}
}

func TestSinceAndTombstones(t *testing.T) {
	t.Parallel()
	r := demo.New(demo.Options{Contacts: 300, Seed: 1})
	before := time.Now().Add(-time.Second)
	did := r.Edit(demo.Edits{Edited: 5, Created: 3, Deleted: 2, Purged: 1, Repaired: 2})
	if did != (demo.Edits{Edited: 5, Created: 3, Deleted: 2, Purged: 1, Repaired: 2}) {
		t.Fatalf("did %+v", did)
	}
	since := "&updated_since=" + url.QueryEscape(before.UTC().Format(time.RFC3339Nano))
	var l listing
	get(t, r, "/contacts?page=1"+since, &l)
	if len(l.Items) != 10 || l.Total != 10 {
		t.Errorf("%d items, total %d; want 5 edited + 3 created + 2 repaired", len(l.Items), l.Total)
	}
	var d listing
	get(t, r, "/contacts/deleted?page=1"+since, &d)
	if len(d.IDs) != 2 {
		t.Fatalf("%d tombstones, want 2: a purged contact leaves none", len(d.IDs))
	}
	if code := get(t, r, "/contacts/"+d.IDs[0].ID, nil); code != http.StatusNotFound {
		t.Errorf("a deleted contact answers %d", code)
	}
	var c demo.Contact
	if code := get(t, r, "/contacts/"+l.Items[0].ID, &c); code != http.StatusOK || c.ID != l.Items[0].ID {
		t.Errorf("get = %d %+v", code, c)
	}
	if code := get(t, r, "/contacts?updated_since=yesterday", nil); code != http.StatusBadRequest {
		t.Errorf("a malformed time answers %d", code)
	}
	if n := len(r.Broken()); n != 5 {
		t.Errorf("%d broken left, want 5", n)
	}
	if n := len(r.Good()); n != 300-5+3-3 {
		t.Errorf("%d good contacts", n)
	}
}

func TestCompareFindsEveryKindOfDifference(t *testing.T) {
	t.Parallel()
	r := demo.New(demo.Options{Contacts: 50, Seed: 3})
	good, broken := r.Good(), r.Broken()
	rows := func() []demo.Row {
		var out []demo.Row
		for _, id := range slices.Sorted(maps.Keys(good)) {
			out = append(out, demo.Row{RemoteID: id, Fields: good[id]})
		}
		return out
	}
	parked := slices.Sorted(maps.Keys(broken))
	if res := demo.Compare(good, rows(), broken, parked); !res.Agree() || res.Equal != len(good) || len(broken) != 7 {
		t.Fatalf("equal sides do not agree: %+v", res)
	}
	for name, tc := range map[string]struct {
		rows   func() []demo.Row
		parked []string
		want   string
	}{
		"missing":        {func() []demo.Row { return rows()[1:] }, parked, "is missing in the local table"},
		"twice":          {func() []demo.Row { return append(rows(), rows()[0]) }, parked, "is there twice"},
		"extra":          {func() []demo.Row { return append(rows(), demo.Row{RemoteID: "x"}) }, parked, "the remote does not have it"},
		"changed":        {func() []demo.Row { rs := rows(); rs[0].Fields.City = "Nowhere"; return rs }, parked, `and "Nowhere" here`},
		"not parked":     {rows, parked[1:], "but not parked"},
		"wrongly parked": {rows, append(slices.Clone(parked), "c00001"), "c00001 is parked but not broken"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res := demo.Compare(good, tc.rows(), broken, tc.parked)
			if res.Agree() || !strings.Contains(strings.Join(res.Differences, "\n"), tc.want) {
				t.Errorf("differences = %q, want one with %q", res.Differences, tc.want)
			}
		})
	}
}
