package main

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/tandem-sync/tandem/emulate/hubspot"
)

// The yardstick is worth something only if it does the job: every contact of
// the source comes out of the hand-written reader with the values it has there.
func TestIdealReadsWhatTheSourceHolds(t *testing.T) {
	const n = 2*batchSize + pageSize/2
	s, err := startSource(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	pages, work := make(chan []byte, 4), make(chan []contact, n/batchSize+1)
	failed, r := make(chan error, 1), readREST()
	go func() { failed <- r.fetch(context.Background(), s.url, pages) }()
	if err := r.batches(t.Context(), pages, work); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	i := 0
	for batch := range work {
		for _, got := range batch {
			var want struct {
				ID, Email, Phone, Company, Birthday string
				First                               string `json:"first_name"`
				Last                                string `json:"last_name"`
				Score                               int
				Active                              bool
			}
			if err := json.Unmarshal(appendContact(nil, i, false), &want); err != nil {
				t.Fatal(err)
			}
			if got.id != want.ID || got.email != want.Email || got.first != want.First || got.last != want.Last || got.phone != want.Phone ||
				got.company != want.Company || got.birthday != want.Birthday || got.score != strconv.Itoa(want.Score) || got.active != strconv.FormatBool(want.Active) {
				t.Fatalf("contact %d: got %+v, want %+v", i, got, want)
			}
			i++
		}
	}
	if i != n {
		t.Fatalf("%d contacts, want %d", i, n)
	}
}

// A changed contact has another hash, an unchanged one the same.
func TestHashTellsAChangedContact(t *testing.T) {
	t.Parallel()
	hash := func(i int, changed bool) int64 {
		var d decoder
		page := append(append([]byte(`{"items":[`), appendContact(nil, i, changed)...), `],"next":null}`...)
		batch, err := d.page(page, nil)
		if err != nil || len(batch) != 1 {
			t.Fatalf("%d contacts, %v", len(batch), err)
		}
		return batch[0].hash
	}
	if hash(100, false) == hash(100, true) {
		t.Error("contact 100 changes, its hash does not")
	}
	if hash(101, false) != hash(101, true) {
		t.Error("contact 101 does not change, its hash does")
	}
}

func TestEscapedForCOPY(t *testing.T) {
	t.Parallel()
	if got, want := string(appendEscaped(nil, "a\\b\tc\nd\re")), `a\\b\tc\nd\re`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// The same for HubSpot: ids as the account gives them, values as they are there.
func TestIdealReadsWhatHubSpotHolds(t *testing.T) {
	t.Parallel()
	const n = batchSize + 150
	p := hubspot.New(hubspot.Config{Limits: hubspot.Unlimited})
	ids := make([]string, n)
	for i := range n {
		ids[i] = p.Create(hubContact(i))
	}
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	pages, work := make(chan []byte, 4), make(chan []contact, n/batchSize+1)
	failed, r := make(chan error, 1), readHubSpot()
	go func() { failed <- r.fetch(context.Background(), srv.URL, pages) }()
	if err := r.batches(t.Context(), pages, work); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	i := 0
	for batch := range work {
		for _, got := range batch {
			values := []string{got.email, got.first, got.last, got.phone, got.company, got.score, got.active, got.birthday}
			for k, name := range hubProperties {
				if want := hubContact(i)[name]; values[k] != want {
					t.Fatalf("contact %d: %s is %q, want %q", i, name, values[k], want)
				}
			}
			if got.id != ids[i] || got.hash == 0 {
				t.Fatalf("contact %d: id %s, hash %d, want id %s", i, got.id, got.hash, ids[i])
			}
			i++
		}
	}
	if i != n {
		t.Fatalf("%d contacts, want %d", i, n)
	}
}
