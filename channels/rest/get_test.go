package rest_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

func getterFor(tb testing.TB, address, get string, more ...string) channels.Getter {
	tb.Helper()
	c := open(tb, settingsFor(address, `{"list":{"path":"/x"},"modified":"updated","deleted":{"field":"archived"},"get":`+get+`}`, more...))
	g, ok := c.(channels.Getter)
	if !ok {
		tb.Fatal("the connector cannot get")
	}
	return g
}

func TestGet(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/r/1", tt.JSON(`{"id":1,"a":"x","updated":"2026-11-24T12:00:00Z"}`))
	srv.Handle("/r/2", tt.Status(404))
	srv.Handle("/r/3", tt.Status(410))
	srv.Handle("/r/a/b?c", tt.JSON(`{"id":"a/b?c","a":null}`))
	srv.Handle("/r/5", tt.JSON(`{"a":"no id in the answer"}`))
	srv.Handle("/r/6", tt.JSON(`{"id":"66","a":"x"}`))
	srv.Handle("/r/7", tt.Status(422))
	srv.Handle("/r/8", tt.JSON(`{"id":8,"a":"\ud800"}`))
	srv.Handle("/r/9", tt.JSON(`{"id":9,"archived":true}`))
	srv.Handle("/r/10", tt.HTML())
	srv.Handle("/r/11", tt.JSON(`[]`))
	g := getterFor(t, srv.URL, `{"path":"/r/{id}","record":""}`)
	ids := []string{"1", "2", "3", "a/b?c", "5", "6", "7", "8", "9", "10", "11", "..", ""}
	recs, err := g.Get(t.Context(), []string{"a"}, ids)
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		value   record.Value
		deleted bool
		code    string
	}{
		{record.T("x"), false, ""},
		{record.Value{}, true, ""},
		{record.Value{}, true, ""},
		{record.NullValue, false, ""},
		{record.T("no id in the answer"), false, ""},
		{record.Value{}, false, fault.CodeBadAnswer},
		{record.Value{}, false, "refused"},
		{record.Value{}, false, fault.CodeBadRecord},
		{record.Value{}, true, ""},
		{record.Value{}, false, fault.CodeBadAnswer},
		{record.Value{}, false, fault.CodeBadRecord},
		{record.Value{}, false, fault.CodeBadRecord},
		{record.Value{}, false, fault.CodeBadRecord},
	}
	for i, r := range recs {
		w := want[i]
		var v record.Value
		if len(r.Values) > 0 {
			v = r.Values[0]
		}
		if r.ID != ids[i] || r.Deleted != w.deleted || v != w.value || fault.CodeOf(r.Err) != w.code {
			t.Errorf("%q: %+v (%s), want %+v", ids[i], r, fault.CodeOf(r.Err), w)
		}
	}
	if !recs[0].Modified.Equal(noon) {
		t.Errorf("modified %s", recs[0].Modified)
	}
	for _, s := range srv.Seen() {
		if strings.Contains(s.Path, "..") {
			t.Errorf("the path %q was asked", s.Path)
		}
	}
}

func TestGetOfANestedRecord(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/r", tt.JSON(`{"contacts":[{"id":"a&b","a":"x"}]}`))
	g := getterFor(t, srv.URL, `{"path":"/r?id={id}","record":"contacts[0]"}`)
	recs, err := g.Get(t.Context(), []string{"a"}, []string{"a&b"})
	if err != nil || recs[0].Err != nil || recs[0].Values[0] != record.T("x") {
		t.Fatal(recs, err)
	}
	if q := srv.Seen()[0].Query; q != "id=a%26b" {
		t.Errorf("asked %q", q)
	}
	srv.Handle("/r", tt.JSON(`{"error":"x"}`))
	recs, err = g.Get(t.Context(), nil, []string{"1"})
	if err != nil || fault.CodeOf(recs[0].Err) != fault.CodeBadAnswer || recs[0].Deleted {
		t.Errorf("an answer without the record: %+v %v", recs, err)
	}
}

func TestGetFailsAsAWhole(t *testing.T) {
	t.Parallel()
	tests := []struct {
		step  tt.Step
		class fault.Class
		code  string
	}{
		{tt.Status(401), fault.Permanent, fault.CodeAuth},
		{tt.Status(503), fault.Retryable, fault.CodeUnreachable},
		{tt.Status(429, "Retry-After", "90"), fault.RateLimited, "rate_limit"},
		{tt.Reset(), fault.Retryable, fault.CodeUnreachable},
	}
	for _, c := range tests {
		srv := tt.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.step(w, r) }))
		srv.Handle("/r/1", tt.JSON(`{"id":1}`))
		ids := []string{"1"}
		for range 200 {
			ids = append(ids, "2")
		}
		recs, err := getterFor(t, srv.URL, `{"path":"/r/{id}"}`).Get(t.Context(), nil, ids)
		wantFault(t, err, c.class, c.code)
		if recs != nil {
			t.Errorf("records beside an error: %v", recs)
		}
		if n := len(srv.Seen()); n > 100 {
			t.Errorf("%s: went on for %d calls", c.code, n)
		}
	}
}

func TestGetKeepsItsConcurrency(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int64
	srv := tt.New(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		noteMost(&most, now.Add(1))
		time.Sleep(5 * time.Millisecond)
		now.Add(-1)
		_, _ = w.Write([]byte(`{"a":"x"}`))
	}))
	ids := make([]string, 30)
	for i := range ids {
		ids[i] = string(rune('a' + i))
	}
	recs, err := getterFor(t, srv.URL, `{"path":"/r/{id}"}`, `"concurrency":3`).Get(t.Context(), []string{"a"}, ids)
	if err != nil || len(recs) != 30 {
		t.Fatal(recs, err)
	}
	if n := most.Load(); n < 2 || n > 3 {
		t.Errorf("%d calls at a time, want 3", n)
	}
}

// noteMost keeps the largest n.
func noteMost(most *atomic.Int64, n int64) {
	for {
		old := most.Load()
		if n <= old || most.CompareAndSwap(old, n) {
			return
		}
	}
}

func TestConnectorWithoutGet(t *testing.T) {
	t.Parallel()
	if _, ok := open(t, settingsFor("https://api.example.com", `{"list":{"path":"/x"}}`)).(channels.Getter); ok {
		t.Error("a connector without get says it can")
	}
}
