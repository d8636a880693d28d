package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/store"
)

// ends collects what several handles of one database tell.
type ends struct {
	mu  sync.Mutex
	all []store.RunEnd
}

func (e *ends) listen(db *store.DB) {
	db.OnRunEnd(func(r store.RunEnd) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.all = append(e.all, r)
	})
}

func (e *ends) taken() []store.RunEnd {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := e.all
	e.all = nil
	return out
}

// TestEndsAreToldOnceThoughAnswersAreLost ends runs by a worker whose COMMIT, or
// the answer to it, gets lost, and by another one that then finds the run.
func TestEndsAreToldOnceThoughAnswersAreLost(t *testing.T) {
	t.Parallel()
	address := testenv.Postgres(t)
	other := open(t, store.Config{URL: address})
	slice := oneSlice(t, other)
	p, proxied := newProxy(t, address)
	db := open(t, store.Config{URL: proxied})
	var told ends
	told.listen(db)
	told.listen(other)
	for name, lost := range map[string]bool{"the answer lost": false, "the request lost": true} {
		var run store.Run
		err := other.Write(t.Context(), "prepare", func(ctx context.Context, tx *store.Tx) error {
			s, err := tx.Slice(ctx, slice)
			if err != nil {
				return err
			}
			first, err := tx.Run(ctx, s.RunID)
			if err == nil {
				run, _, _, err = tx.AddRequest(ctx, store.Request{ChannelID: first.ChannelID}, false)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		end := func(status store.Status) func(context.Context, *store.Tx) error {
			return func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.FinishRun(ctx, run.ID, status, nil)
				return err
			}
		}
		plan := p.arm("COMMIT", lost)
		if err := db.Write(t.Context(), "end", end(store.StatusFailed)); !errors.Is(err, store.ErrCommitUnknown) || !plan.hit.Load() {
			t.Fatalf("%s: %v, hit %v", name, err, plan.hit.Load())
		}
		if err := other.Write(t.Context(), "end", end(store.StatusCancelled)); err != nil {
			t.Fatal(err)
		}
		want := store.StatusFailed
		if lost {
			want = store.StatusCancelled
		}
		if got := told.taken(); len(got) != 1 || got[0].Status != want || got[0].Channel != "crm" || got[0].Took != 0 {
			t.Errorf("%s: told %+v, want one %s", name, got, want)
		}
	}
}

// TestEndsThatAreRolledBackAreNotTold: only what is committed has happened.
func TestEndsThatAreRolledBackAreNotTold(t *testing.T) {
	t.Parallel()
	db := open(t, store.Config{URL: "sqlite:" + t.TempDir() + "/t.db"})
	slice := oneSlice(t, db)
	var told ends
	told.listen(db)
	errGone := errors.New("gone")
	for _, result := range []error{errGone, nil, nil} {
		err := db.Write(t.Context(), "end", func(ctx context.Context, tx *store.Tx) error {
			s, err := tx.Slice(ctx, slice)
			if err == nil {
				_, err = tx.FinishRun(ctx, s.RunID, store.StatusFinished, nil)
			}
			return errors.Join(err, result)
		})
		if !errors.Is(err, result) {
			t.Fatal(err)
		}
		if result != nil && len(told.taken()) != 0 {
			t.Error("an end that was rolled back was told")
		}
	}
	if got := told.taken(); len(got) != 1 || got[0].Status != store.StatusFinished || got[0].Took <= 0 {
		t.Errorf("told %+v", got)
	}
}
