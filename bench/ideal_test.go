package main

import (
	"context"
	"encoding/json"
	"strconv"
	"testing"
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
	failed := make(chan error, 1)
	go func() { failed <- fetchPages(context.Background(), s.url, pages) }()
	if err := batches(t.Context(), pages, work); err != nil {
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
