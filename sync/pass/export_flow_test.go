package pass_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/pass"
	"github.com/tandem-sync/tandem/sync/record"
)

// parallelPair is a pair of n linked records whose remote takes calls at a time,
// with every row's name changed.
func parallelPair(b *workbench, n, parallel int) *pair {
	p := newPair(b)
	p.w.caps.Parallel = parallel
	for i := range n {
		p.remote.put(fmt.Sprint(i), "email", fmt.Sprintf("%d@x.org", i), "name", fmt.Sprint(i))
	}
	p.sync(store.Spec{})
	p.push(store.Spec{})
	p.exec("UPDATE contacts SET name = 'new ' || name")
	p.relay()
	return p
}

// tryPush exports what is due in blocks of a size.
func (p *pair) tryPush(block int) (store.Counters, error) {
	p.t.Helper()
	in := p.beginPush(store.Spec{})
	r := &pass.Reverse{DB: p.db, C: p.connector(), Clock: clock.System{}, BatchRecords: block}
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
	defer cancel()
	_, err := r.Run(ctx, in)
	in = p.again(in)
	p.end(in)
	return in.Slice.Counters, err
}

// TestSlowCallIdlesNoOther: while one call waits, rows of later blocks go out.
func TestSlowCallIdlesNoOther(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := parallelPair(b, 12, 2)
		var mu sync.Mutex
		others, enough := 0, make(chan struct{})
		p.w.meddle = func(o *channels.Order) (channels.Result, bool) {
			if o.ID == "0" {
				select {
				case <-enough:
				case <-time.After(time.Minute):
					t.Error("nothing else goes out while one call waits")
				}
				return channels.Result{}, false
			}
			mu.Lock()
			defer mu.Unlock()
			if others++; others == 7 { // more than the rest of its own block
				close(enough)
			}
			return channels.Result{}, false
		}
		c, err := p.tryPush(3)
		must(t, err)
		eq(t, "pushed", c.Pushed, 12)
		eq(t, "last name", p.there("11", "name"), "new 11")
		p.w.meddle = nil
		p.quiet()
	})
}

// TestReadRightBeforeWrite: however large a block is, no more records have been
// looked at and not written than there are calls at a time, give or take those
// that are ready for the next one.
func TestReadRightBeforeWrite(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		const parallel, lanes = 4, 5
		p := parallelPair(b, 30, parallel)
		var mu sync.Mutex
		open, most := map[string]bool{}, 0
		p.remote.looked = func(ids []string) {
			mu.Lock()
			defer mu.Unlock()
			for _, id := range ids {
				open[id] = true
			}
			most = max(most, len(open))
		}
		p.w.meddle = func(o *channels.Order) (channels.Result, bool) {
			mu.Lock()
			defer mu.Unlock()
			if !open[o.ID] {
				t.Errorf("record %s was not looked at", o.ID)
			}
			delete(open, o.ID)
			return channels.Result{}, false
		}
		c, err := p.tryPush(30)
		must(t, err)
		eq(t, "pushed", c.Pushed, 30)
		if most > lanes {
			t.Errorf("%d records were looked at before they were written to", most)
		}
	})
}

// TestNewRowsOfTwoBlocks: the second of two rows with one identity is looked for
// only when the record of the first is there.
func TestNewRowsOfTwoBlocks(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.spec.Match = [][]string{{"name"}}
		p := parallelPair(b, 0, 4)
		p.exec("INSERT INTO contacts (email, name) VALUES ('a@x.org', 'Ann'), ('b@x.org', 'Ann'), ('c@x.org', 'Cid')")
		p.relay()
		p.w.meddle = func(*channels.Order) (channels.Result, bool) {
			time.Sleep(20 * time.Millisecond) // time to go wrong
			return channels.Result{}, false
		}
		c, err := p.tryPush(1)
		must(t, err)
		eq(t, "created", c.Created, 2)
		eq(t, "parked", p.number("SELECT count(*) FROM tandem_parked WHERE reason = 'duplicate_identity'"), 1)
		eq(t, "records there", len(p.remote.recs), 2)
	})
}

// TestChangeWhileOnItsWay: a row that changes while it is being sent goes out
// again, after that.
func TestChangeWhileOnItsWay(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := parallelPair(b, 8, 4)
		var mu sync.Mutex
		var sent []string
		under := 0
		p.w.meddle = func(o *channels.Order) (channels.Result, bool) {
			if o.ID != "0" {
				return channels.Result{}, false
			}
			mu.Lock()
			under++
			if under > 1 {
				t.Error("two calls about one record at a time")
			}
			sent = append(sent, o.Values[1].Text)
			first := len(sent) == 1
			mu.Unlock()
			if first {
				p.exec("UPDATE contacts SET name = 'newer' WHERE email = '0@x.org'")
				p.relay()
				p.due()
			}
			mu.Lock()
			under--
			mu.Unlock()
			return channels.Result{}, false
		}
		_, err := p.tryPush(2)
		must(t, err)
		eq(t, "orders", fmt.Sprint(sent), "[new 0 newer]")
		eq(t, "name there", p.there("0", "name"), "newer")
		p.w.meddle = nil
		p.quiet()
	})
}

// TestTroubleEndsTheFlow: a remote that asks to wait is left alone, by rows of
// later blocks, too, and nothing is lost.
func TestTroubleEndsTheFlow(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		const parallel, lanes = 2, 3
		p := parallelPair(b, 20, parallel)
		p.exec("INSERT INTO contacts (email, name) VALUES ('new@x.org', 'New')")
		p.relay()
		var mu sync.Mutex
		calls := 0
		p.w.whole = func() error {
			mu.Lock()
			defer mu.Unlock()
			calls++
			return fault.New(fault.RateLimited, "", "write", "429").After(time.Second)
		}
		_, err := p.tryPush(4)
		if fault.Of(err) != fault.RateLimited {
			t.Fatalf("error %v", err)
		}
		if calls > lanes {
			t.Errorf("%d calls of a remote that asks to wait", calls)
		}
		eq(t, "open creates", p.number("SELECT count(*) FROM tandem_intent"), 0)
		p.w.whole = nil
		p.due()
		c, err := p.tryPush(4)
		must(t, err)
		eq(t, "pushed", c.Pushed, 21)
		p.quiet()
	})
}

// TestLostValuesAreKeptFirst: what a chunk overwrites is stored before it is sent,
// also where several chunks do so at a time.
func TestLostValuesAreKeptFirst(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.policy = "local"
		p.w.caps.Parallel = 4
		for i := range 10 {
			p.remote.put(fmt.Sprint(i), "email", fmt.Sprintf("%d@x.org", i), "name", fmt.Sprint(i))
		}
		p.sync(store.Spec{})
		p.push(store.Spec{})
		p.exec("UPDATE contacts SET name = 'new ' || name")
		p.relay()
		for i := range 10 {
			p.remote.set(fmt.Sprint(i), "name", record.T(fmt.Sprintf("other %d", i)))
		}
		p.w.meddle = func(o *channels.Order) (channels.Result, bool) {
			if n := p.number("SELECT count(*) FROM tandem_change WHERE body LIKE '%\"other " + o.ID + "\"%'"); n != 1 {
				t.Errorf("%d lines about what record %s held", n, o.ID)
			}
			return channels.Result{}, false
		}
		c, err := p.tryPush(10)
		must(t, err)
		eq(t, "pushed", c.Pushed, 10)
		eq(t, "conflicts", c.Conflicts, 10)
	})
}

// TestFailedBookingEndsTheFlow: without the claim nothing further is sent, and
// the error is the one that began it.
func TestFailedBookingEndsTheFlow(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := parallelPair(b, 12, 2)
		var once sync.Once
		p.w.meddle = func(*channels.Order) (channels.Result, bool) {
			once.Do(func() { p.exec("UPDATE tandem_lease SET epoch = epoch + 1") })
			return channels.Result{}, false
		}
		c, err := p.tryPush(3)
		if !errors.Is(err, store.ErrFenced) {
			t.Fatalf("error %v", err)
		}
		eq(t, "pushed", c.Pushed, 0)
	})
}

// TestChangeDuringTheLastBlock: what is told of while the last rows are being sent
// is taken up, claimed and sent beside them.
func TestChangeDuringTheLastBlock(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := parallelPair(b, 2, 2)
		_, err := p.tryPush(5)
		must(t, err)
		p.exec("UPDATE contacts SET name = 'slow' WHERE email = '0@x.org'")
		p.relay()
		bell, out := make(chan struct{}, 1), make(chan struct{})
		p.w.meddle = func(o *channels.Order) (channels.Result, bool) {
			if o.ID == "1" {
				close(out)
				return channels.Result{}, false
			}
			p.exec("UPDATE contacts SET name = 'quick' WHERE email = '1@x.org'")
			bell <- struct{}{}
			select {
			case <-out:
			case <-time.After(time.Minute):
				t.Error("the change does not go out while a call waits")
			}
			return channels.Result{}, false
		}
		c, taken := p.connector(), 0
		in := p.beginPush(store.Spec{})
		in.Heard = bell
		in.Fetch = func(ctx context.Context, tx *store.Tx) (func(), error) {
			r, _, err := tx.FetchChanges(ctx, c.Entity, c.ID, 10, 0, 0)
			return func() { taken += r.Taken }, err
		}
		_, err = (&pass.Reverse{DB: p.db, C: c, Clock: clock.System{}, BatchRecords: 5}).Run(t.Context(), in)
		must(t, err)
		in = p.again(in)
		p.end(in)
		eq(t, "pushed", in.Slice.Counters.Pushed, 2)
		eq(t, "taken up", taken, 1)
		eq(t, "name", p.there("1", "name"), "quick")
		p.w.meddle = nil
		p.quiet()
	})
}
