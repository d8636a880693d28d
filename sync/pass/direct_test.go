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
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/pass"
	"github.com/tandem-sync/tandem/sync/record"
)

func (b *workbench) fill(n int) {
	for i := range n {
		b.remote.put(fmt.Sprint("r", i), "email", fmt.Sprintf("c%d@x.org", i), "name", fmt.Sprint("n", i), "score", fmt.Sprint(i))
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

func TestFirstSyncThenNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.fill(23)
		equal(t, "first", b.sync(store.Spec{}), store.Counters{Read: 23, Created: 23})
		equal(t, "rows", b.number("SELECT count(*) FROM contacts"), 23)
		equal(t, "links", b.number("SELECT count(*) FROM tandem_link"), 23)
		equal(t, "second, full", b.sync(store.Spec{Mode: store.ModeFull}), store.Counters{Read: 23, Unchanged: 23})
		equal(t, "updates", b.number("SELECT n FROM touched"), 0)
		if _, _, note := b.row("c7@x.org"); note != "mine" {
			t.Errorf("an unmapped column was touched: %q", note)
		}
	})
}

func TestIncrementalCarriesTheEdits(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.opts = func(c *pass.Connector) { c.Overlap = -3 * time.Second } // so that the old records stay out
		b.fill(10)
		b.sync(store.Spec{})
		time.Sleep(2100 * time.Millisecond)
		b.remote.put("r3", "name", "changed")
		b.remote.put("new", "email", "new@x.org", "name", "N", "score", "1")
		equal(t, "second", b.sync(store.Spec{}), store.Counters{Read: 2, Created: 1, Updated: 1})
		name, score, note := b.row("c3@x.org")
		equal(t, "row", name+score+note, "changed3mine")
		equal(t, "updates", b.number("SELECT n FROM touched"), 1)
	})
}

func TestLocalEditIsHeldUntilTheRemoteChanges(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.fill(2)
		b.sync(store.Spec{})
		b.exec("UPDATE contacts SET name = 'mine' WHERE email = 'c0@x.org'")
		b.remote.put("r0", "score", "50")
		equal(t, "other field", b.sync(store.Spec{Mode: store.ModeFull}), store.Counters{Read: 2, Updated: 1, Unchanged: 1})
		name, score, _ := b.row("c0@x.org")
		equal(t, "row", name+score, "mine50")
		b.remote.put("r0", "name", "theirs")
		equal(t, "same field", b.sync(store.Spec{Mode: store.ModeFull}), store.Counters{Read: 2, Updated: 1, Unchanged: 1, Conflicts: 1})
		name, _, _ = b.row("c0@x.org")
		equal(t, "name", name, "theirs")
	})
}

func TestMatchBeforeCreate(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.opts = func(c *pass.Connector) { c.Conflict = judge.Remote }
		b.exec("INSERT INTO contacts (email, name) VALUES ('C1@x.org ', 'old'), ('other@x.org', 'o')")
		b.fill(3)
		equal(t, "counters", b.sync(store.Spec{}), store.Counters{Read: 3, Created: 2, Updated: 1, Conflicts: 2})
		equal(t, "rows", b.number("SELECT count(*) FROM contacts"), 4)
		equal(t, "adopted", b.number("SELECT count(*) FROM contacts WHERE name = 'n1'"), 1)
	})
}

func TestDuplicateAndAmbiguousIdentitiesWait(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.spec.Match = [][]string{{"name"}}
		b.exec("INSERT INTO contacts (email, name) VALUES ('a@x.org', 'twin'), ('b@x.org', 'twin')")
		b.remote.put("r1", "email", "1@x.org", "name", "twin")
		b.remote.put("r2", "email", "2@x.org", "name", "solo")
		for i := range 9 {
			b.remote.put(fmt.Sprint("f", i), "email", fmt.Sprintf("f%d@x.org", i), "name", fmt.Sprint("f", i))
		}
		b.remote.put("r3", "email", "3@x.org", "name", "solo") // in a later batch
		equal(t, "counters", b.sync(store.Spec{}), store.Counters{Read: 12, Created: 10, Parked: 2})
		equal(t, "parked", b.number("SELECT count(*) FROM tandem_parked WHERE kind = 'duplicate_identity' AND remote_id IN ('r1', 'r3')"), 2)
		equal(t, "again", b.sync(store.Spec{Mode: store.ModeFull}), store.Counters{Read: 12, Unchanged: 10, Parked: 2})
		equal(t, "still two items", b.number("SELECT count(*) FROM tandem_parked"), 2)
	})
}

func TestBadRecordsCostThemselves(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.fill(12)
		b.remote.put("r2", "score", "many")     // no integer
		b.remote.put("r5", "score", "5000")     // refused by the table's CHECK
		b.remote.put("r7", "email", "c6@x.org") // the email of r6
		got := b.sync(store.Spec{})
		equal(t, "counters", got, store.Counters{Read: 12, Created: 9, Parked: 3})
		equal(t, "parked", b.number("SELECT count(*) FROM tandem_parked WHERE resolved = '' AND remote_id IN ('r2', 'r5', 'r7')"), 3)
		b.remote.put("r2", "score", "2")
		equal(t, "mended", b.sync(store.Spec{Mode: store.ModeFull}), store.Counters{Read: 12, Created: 1, Unchanged: 9, Parked: 2})
		equal(t, "resolved", b.number("SELECT count(*) FROM tandem_parked WHERE resolved <> '' AND remote_id = 'r2'"), 1)
	})
}

func TestDeletionsNeedProof(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.fill(30)
		b.sync(store.Spec{})
		b.remote.remove("r3", "r4")
		hidden := 0
		b.remote.tampered = func(p *channels.Page) { // one more is hidden by the listing, but alive
			for i, r := range p.Records {
				if r.ID == "r9" {
					p.Records = append(p.Records[:i:i], p.Records[i+1:]...)
					hidden++
					return
				}
			}
		}
		equal(t, "incremental infers nothing", b.sync(store.Spec{}).Deleted, 0)
		got := b.sync(store.Spec{Mode: store.ModeFull})
		equal(t, "full", got, store.Counters{Read: 28, Unchanged: 28, Deleted: 2})
		if hidden == 0 {
			t.Error("nothing was hidden")
		}
		equal(t, "rows", b.number("SELECT count(*) FROM contacts"), 28)
		equal(t, "tombstones", b.number("SELECT count(*) FROM tandem_link WHERE state = 1"), 2)
	})
}

func TestWithoutGetNothingIsInferred(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.remote.noGet = true
		b.fill(5)
		b.sync(store.Spec{})
		b.remote.remove("r1")
		equal(t, "full", b.sync(store.Spec{Mode: store.ModeFull}), store.Counters{Read: 4, Unchanged: 4})
		equal(t, "rows", b.number("SELECT count(*) FROM contacts"), 5)
	})
}

func TestTombstonesAndUnlink(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.remote.caps.Tombstones = true
		b.opts = func(c *pass.Connector) { c.OnRemoteDelete = pass.DeleteUnlink }
		b.fill(5)
		b.sync(store.Spec{})
		b.remote.remove("r1")
		equal(t, "deleted", b.sync(store.Spec{}).Deleted, 1)
		equal(t, "rows stay", b.number("SELECT count(*) FROM contacts"), 5)
		b.remote.put("r1", "name", "back")
		got := b.sync(store.Spec{})
		equal(t, "comes back to its row", got.Updated+got.Unchanged, 5)
		equal(t, "rows", b.number("SELECT count(*) FROM contacts"), 5)
		equal(t, "linked again", b.number("SELECT count(*) FROM tandem_link WHERE state = 0"), 5)
	})
}

func TestMassDeleteWaitsForAPerson(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.fill(60)
		b.sync(store.Spec{})
		for i := range 30 {
			b.remote.remove(fmt.Sprint("r", i))
		}
		equal(t, "full", b.sync(store.Spec{Mode: store.ModeFull}), store.Counters{Read: 30, Unchanged: 30})
		equal(t, "rows", b.number("SELECT count(*) FROM contacts"), 60)
		id := b.number("SELECT id FROM tandem_parked WHERE kind = 'mass_delete' AND resolved = ''")
		b.remote.put("r0", "name", "back") // one comes back before the approval
		equal(t, "approved", b.sync(store.Spec{ApproveParked: id}).Deleted, 29)
		equal(t, "rows", b.number("SELECT count(*) FROM contacts"), 31)
	})
}

// TestDryRunTellsDeletions: what a complete run would remove, or would have a
// person decide, is part of its preview; the rows, the links and the ledger stay.
func TestDryRunTellsDeletions(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.fill(60)
		b.sync(store.Spec{})
		dry := store.Spec{Mode: store.ModeFull, Flags: store.Flags{DryRun: true}}
		lines := func(op string) int64 {
			return b.number("SELECT count(*) FROM tandem_change WHERE run_id = (SELECT max(id) FROM tandem_run) AND body LIKE ?", `%"op":"`+op+`"%`)
		}
		b.remote.remove("r1")
		b.remote.remove("r2")
		equal(t, "preview", b.sync(dry), store.Counters{Read: 58, Unchanged: 58, Deleted: 2})
		equal(t, "lines", lines("delete"), 2)
		equal(t, "rows", b.number("SELECT count(*) FROM contacts"), 60)
		for i := 3; i < 30; i++ {
			b.remote.remove(fmt.Sprint("r", i))
		}
		equal(t, "a wave", b.sync(dry).Deleted, 0)
		equal(t, "delete lines of a wave", lines("delete"), 0)
		equal(t, "lines of a wave", lines("park"), 1)
		equal(t, "ledger", b.number("SELECT count(*) FROM tandem_parked"), 0)
		equal(t, "candidates", b.number("SELECT count(*) FROM tandem_candidate"), 0)
		equal(t, "links", b.number("SELECT count(*) FROM tandem_link WHERE state = 0"), 60)
		equal(t, "the real run", b.sync(store.Spec{Mode: store.ModeFull}).Deleted, 0)
		equal(t, "parked", b.number("SELECT count(*) FROM tandem_parked WHERE kind = 'mass_delete'"), 1)
	})
}

func TestWindowAndIDsAndDryRun(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.fill(4)
		dry := b.sync(store.Spec{Flags: store.Flags{DryRun: true}})
		equal(t, "dry", dry, store.Counters{Read: 4, Created: 4})
		equal(t, "dry wrote rows", b.number("SELECT count(*) FROM contacts"), 0)
		equal(t, "lines", b.number("SELECT count(*) FROM tandem_change"), 4)
		mid := time.Now().Add(10 * time.Millisecond)
		time.Sleep(20 * time.Millisecond)
		b.remote.put("r9", "email", "9@x.org", "name", "n9")
		equal(t, "window", b.sync(store.Spec{End: &mid}), store.Counters{Read: 4, Created: 4})
		equal(t, "no watermark", b.number("SELECT count(*) FROM tandem_watermark"), 0)
		equal(t, "ids", b.sync(store.Spec{RemoteIDs: []string{"r9", "gone"}}), store.Counters{Read: 2, Created: 1, Skipped: 1})
		b.remote.put("r1", "name", "x")
		key := b.number("SELECT id FROM contacts WHERE email = 'c1@x.org'")
		equal(t, "local ids", b.sync(store.Spec{LocalIDs: []string{fmt.Sprint(key)}}), store.Counters{Read: 1, Updated: 1})
	})
}

func TestOptionsOfFields(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.spec.Fields = []mapping.Field{
			{Local: "email", Remote: "email", Direction: mapping.ToLocal, Required: true},
			{Local: "name", Remote: "name", Direction: mapping.ToLocal, On: mapping.OnCreate},
			{Local: "score", Remote: "score", Direction: mapping.ToLocal, Default: record.N("7")},
		}
		b.spec.SetLocal = map[string]record.Value{"note": record.T("imported")}
		b.remote.put("r1", "email", "1@x.org", "name", "a")
		b.remote.put("r2", "name", "no mail")
		equal(t, "first", b.sync(store.Spec{}), store.Counters{Read: 2, Created: 1, Skipped: 1})
		name, score, note := b.row("1@x.org")
		equal(t, "row", name+score+note, "a7imported")
		b.remote.put("r1", "name", "b")
		b.remote.set("r1", "email", record.NullValue)
		b.sync(store.Spec{Mode: store.ModeFull})
		name, _, _ = b.row("1@x.org")
		equal(t, "on create and required", name, "a")
	})
}

// TestCrashAtEveryPoint kills the slice at every effect in turn; whoever goes
// on must come to the same end, with every record counted once.
func TestCrashAtEveryPoint(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.fill(17)
		b.remote.put("r2", "score", "many")
		boom := errors.New("boom")
		in := b.begin(store.Spec{Mode: store.ModeFull})
		var mu sync.Mutex // pages are read ahead beside the batches
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
			out, err := b.pass().Run(ctx, in)
			in = b.again(in)
			if err == nil && out.Done {
				break
			}
			if err != nil && !errors.Is(err, boom) {
				t.Fatalf("point %d: %v", target, err)
			}
			crashes++
			equal(t, "links", b.number("SELECT count(*) FROM tandem_link"), b.number("SELECT count(*) FROM contacts"))
			if target > 2000 {
				t.Fatal("never done")
			}
		}
		b.end(in)
		if crashes < 5 || !points["tx.before_commit"] || !points["tx.after_commit"] || !points["batch.before_step"] {
			t.Fatalf("only %d crashes at %v", crashes, points)
		}
		equal(t, "counters", in.Slice.Counters, store.Counters{Read: 17, Created: 16, Parked: 1})
		equal(t, "rows", b.number("SELECT count(*) FROM contacts"), 16)
	})
}

func TestRepeatedPagesCountOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.fill(9)
		b.remote.caps.Drifts = true
		b.sync(store.Spec{})
		b.remote.tampered = func(p *channels.Page) { p.Records = append(p.Records, p.Records[0]) }
		equal(t, "again", b.sync(store.Spec{Mode: store.ModeFull}), store.Counters{Read: 9, Unchanged: 9})
	})
}

func TestCancelAndFailure(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.fill(40)
		in := b.begin(store.Spec{})
		b.remote.fail = func(call int) error {
			if call == 4 {
				b.write(func(ctx context.Context, tx *store.Tx) error { return tx.CancelRun(ctx, in.Run.ID) })
			}
			if call >= 4 {
				time.Sleep(50 * time.Millisecond)
				return fault.New(fault.Retryable, "", "memory", "slow")
			}
			return nil
		}
		_, err := b.pass().Run(t.Context(), in)
		if fault.Of(err) != fault.Retryable && !errors.Is(err, pass.ErrCancelled) {
			t.Fatalf("got %v", err)
		}
		in = b.again(in)
		equal(t, "what was read is committed", in.Slice.Counters.Created, 9)
		equal(t, "rows", b.number("SELECT count(*) FROM contacts"), 9)
	})
}

func TestAZombieWritesNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.fill(8)
		in := b.begin(store.Spec{})
		stale := in
		b.write(func(ctx context.Context, tx *store.Tx) error { // expire it and take it over
			if err := tx.ReleaseLease(ctx, in.Lease); err != nil {
				return err
			}
			l, err := b.lease(ctx, tx)
			in.Lease = l
			return err
		})
		if _, err := b.pass().Run(t.Context(), stale); !errors.Is(err, store.ErrFenced) {
			t.Fatalf("the zombie got %v", err)
		}
		equal(t, "rows", b.number("SELECT count(*) FROM contacts"), 0)
		out, err := b.pass().Run(t.Context(), b.again(in))
		must(t, err)
		equal(t, "done", out.Done, true)
		equal(t, "rows", b.number("SELECT count(*) FROM contacts"), 8)
	})
}
