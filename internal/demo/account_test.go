package demo_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/internal/demo"
)

func TestAccountEdits(t *testing.T) {
	t.Parallel()
	a := demo.NewAccount(demo.AccountOptions{Contacts: 200, Seed: 1})
	before, broken := a.Good(), a.Broken()
	if len(before) != 195 || len(broken) != 5 {
		t.Fatalf("%d good, %d broken", len(before), len(broken))
	}
	for id, f := range before {
		if broken[id] != "" || f.Email == "" || f.Birthday == "" || f.Orders == "" {
			t.Errorf("%s: %+v %s", id, f, broken[id])
		}
	}
	want := demo.Edits{Edited: 9, Created: 4, Deleted: 3, Purged: 2, Repaired: 2}
	if did := a.Edit(want); did != want {
		t.Fatalf("did %+v", did)
	}
	after := a.Good()
	count := map[string]int{}
	for id, f := range after {
		old, was := before[id]
		switch {
		case !was:
			count["new"]++
		case old != f:
			count["edited"]++
		}
	}
	for id := range before {
		if _, is := after[id]; !is {
			count["gone"]++
		}
	}
	if !maps.Equal(count, map[string]int{"new": 6, "edited": 9, "gone": 5}) || len(a.Broken()) != 3 {
		t.Errorf("%v, %d broken", count, len(a.Broken()))
	}
	// More than there is does what there is.
	if did := a.Edit(demo.Edits{Deleted: 1000, Repaired: 9}); did != (demo.Edits{Deleted: 196, Repaired: 3}) {
		t.Errorf("did %+v", did)
	}
}

func TestAccountRefusesNowAndThen(t *testing.T) {
	t.Parallel()
	a := demo.NewAccount(demo.AccountOptions{Contacts: 10, Broken: -1, Trouble: 2, Seed: 1})
	var codes []int
	for range 6 {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/crm/v3/objects/contacts", http.NoBody)
		r.Header.Set("Authorization", "Bearer "+a.Token())
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		codes = append(codes, w.Code)
	}
	if calls, refused := a.Calls(); calls != 6 || refused != 2 || !slices.Equal(codes, []int{200, 429, 200, 200, 200, 429}) {
		t.Errorf("%v, %d calls, %d refused", codes, calls, refused)
	}
}

// The gate lets some calls pass and holds the others until it is opened; one
// that is given up meanwhile never reaches the remote.
func TestGate(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	answered := 0
	g := demo.NewGate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		answered++
	}), time.Millisecond, 2)
	srv := httptest.NewServer(g)
	defer srv.Close()
	call := func(limit time.Duration) bool {
		client := &http.Client{Timeout: limit}
		defer client.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			return false
		}
		return res.Body.Close() == nil
	}
	var passed []bool
	for _, limit := range []time.Duration{time.Minute, time.Minute, 50 * time.Millisecond} {
		passed = append(passed, call(limit))
	}
	if !slices.Equal(passed, []bool{true, true, false}) {
		t.Errorf("passed %v, want two calls to pass and the third to be held", passed)
	}
	held := make(chan bool)
	go func() { held <- call(time.Minute) }()
	for g.Held() < 2 {
		time.Sleep(time.Millisecond)
	}
	g.Open()
	g.Open()
	if !<-held || !call(time.Minute) {
		t.Error("an open gate does not answer")
	}
	mu.Lock()
	defer mu.Unlock()
	if answered != 4 {
		t.Errorf("the remote heard of %d calls, want 4", answered)
	}
}
