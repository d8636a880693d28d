package pass_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/pass"
)

// TestExportCrashAtEveryPoint kills the way out at every effect in turn; whoever
// takes over comes to the same end, with one record per row.
func TestExportCrashAtEveryPoint(t *testing.T) {
	t.Parallel()
	for _, parallel := range []int{0, 3} {
		t.Run(fmt.Sprintf("%d calls", parallel), func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, b *workbench) { crashAtEveryPoint(t, b, parallel) })
		})
	}
}

func crashAtEveryPoint(t *testing.T, b *workbench, parallel int) {
	p := newPair(b)
	p.w.caps.Parallel = parallel
	for _, id := range []string{"1", "2", "3"} {
		p.remote.put(id, "email", id+"@x.org", "name", id)
	}
	p.sync(store.Spec{})
	p.push(store.Spec{})
	p.w.meddle = refuse("bad")
	p.exec("UPDATE contacts SET name = 'new ' || name WHERE email IN ('1@x.org', '2@x.org')")
	p.exec("INSERT INTO contacts (email, name) VALUES ('4@x.org', '4'), ('5@x.org', '5'), ('6@x.org', 'bad'), ('7@x.org', '7')")
	p.exec("DELETE FROM contacts WHERE email = '3@x.org'")
	p.relay()
	in := p.beginPush(store.Spec{})
	boom := errors.New("boom")
	var mu sync.Mutex
	points, crashes := map[string]bool{}, 0
	for target := 1; ; target++ {
		n := 0
		ctx := yield.With(t.Context(), func(_ context.Context, point string) error {
			mu.Lock()
			defer mu.Unlock()
			n++
			points[point] = true
			if n == target {
				return boom
			}
			return nil
		})
		r := &pass.Reverse{DB: p.db, C: p.connector(), Clock: clock.System{}, BatchRecords: 3}
		out, err := r.Run(ctx, in)
		in = p.takeOver(in)
		if err == nil && out.Done {
			break
		}
		if err != nil && !errors.Is(err, boom) {
			t.Fatalf("point %d: %v", target, err)
		}
		crashes++
		if target > 2000 {
			t.Fatal("never done")
		}
	}
	p.end(in)
	for _, point := range []string{"export.before_claim", "export.before_write", "export.after_write", "tx.before_commit", "tx.after_commit"} {
		if !points[point] {
			t.Errorf("never at %s", point)
		}
	}
	if crashes < 5 {
		t.Errorf("only %d crashes", crashes)
	}
	p.due()
	p.push(store.Spec{})
	live := 0
	for _, r := range p.remote.recs {
		if !r.deleted {
			live++
		}
	}
	eq(t, "records", live, 5)
	eq(t, "name there", p.there("1", "name"), "new 1")
	eq(t, "deleted there", p.there("3", "name"), "(deleted)")
	eq(t, "parked", p.number("SELECT count(*) FROM tandem_parked WHERE resolved = ''"), 1)
	eq(t, "open creates", p.number("SELECT count(*) FROM tandem_intent"), 0)
	p.sync(store.Spec{})
	eq(t, "rows", p.number("SELECT count(*) FROM contacts"), 6)
	p.quiet()
}

// takeOver gives the slice to the next worker, with a lease of its own.
func (p *pair) takeOver(in pass.Input) pass.Input {
	p.t.Helper()
	p.write(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.ReleaseLease(ctx, in.Lease); err != nil {
			return err
		}
		var err error
		in.Lease, _, err = tx.AcquireLease(ctx, in.Lease.LeaseKey, "another", time.Minute)
		return err
	})
	in = p.again(in)
	p.due()
	return in
}
