package pass_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// TestOneTimeForAllRecords: an import at the remote gave ten thousand records
// the same time of change. Each is read once, and the next run comes to an end
// as well.
func TestOneTimeForAllRecords(t *testing.T) {
	t.Parallel()
	const n = 10_000
	onBoth(t, func(t *testing.T, b *workbench) {
		b.remote.page = 500
		at := time.Now().UTC().Truncate(time.Second)
		for i := range n {
			b.remote.recs = append(b.remote.recs, memRecord{id: fmt.Sprint("r", i), updated: at, vals: map[string]record.Value{
				"email": record.T(fmt.Sprintf("c%d@x.org", i)), "name": record.T("n"), "score": record.T("1"),
			}})
		}
		equal(t, "first", b.sync(store.Spec{}), store.Counters{Read: n, Created: n})
		for i := range b.remote.recs {
			b.remote.recs[i].vals["score"] = record.T("2")
		}
		equal(t, "second", b.sync(store.Spec{}), store.Counters{Read: n, Updated: n})
		equal(t, "third", b.sync(store.Spec{}), store.Counters{Read: n, Unchanged: n})
		equal(t, "rows", b.number("SELECT count(*) FROM contacts WHERE score = 2"), n)
	})
}

// TestPageDrift: while a listing by offset is read, records before its place
// vanish, so that others are skipped over, and new ones push some onto two
// pages. Nothing is deleted that is there, and nothing is missing at the end.
func TestPageDrift(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.remote.caps.Drifts = true
		b.fill(30)
		b.sync(store.Spec{})
		pages := 0
		b.remote.tampered = func(*channels.Page) { // called with the remote's lock held
			switch pages++; pages {
			case 3: // five that were read go: five others will be skipped over
				b.remote.recs = b.remote.recs[5:]
			case 6: // and two come in front: two will be read twice
				front := []memRecord{}
				for _, id := range []string{"x1", "x2"} {
					front = append(front, memRecord{id: id, updated: time.Now().UTC(), vals: map[string]record.Value{
						"email": record.T(id + "@x.org"), "name": record.T(id), "score": record.T("1"),
					}})
				}
				b.remote.recs = append(front, b.remote.recs...)
			}
		}
		// Those that vanished had been listed before; the next run finds them gone.
		equal(t, "deleted while it drifts", b.sync(store.Spec{Mode: store.ModeFull}).Deleted, 0)
		b.remote.tampered = nil
		equal(t, "deleted afterwards", b.sync(store.Spec{Mode: store.ModeFull}).Deleted, 5)
		equal(t, "rows", b.number("SELECT count(*) FROM contacts"), 27)
		equal(t, "live links", b.number("SELECT count(*) FROM tandem_link WHERE state = 0"), 27)
		for _, r := range b.remote.recs {
			equal(t, "row of "+r.id, b.number("SELECT count(*) FROM contacts WHERE email = ?", r.vals["email"].Text), 1)
		}
	})
}

// TestEmptyListInAnOutage: the remote answers with an empty list and status 200.
// Nothing is deleted, even where reading by id agrees that all is gone.
func TestEmptyListInAnOutage(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.fill(40)
		b.sync(store.Spec{})
		all := b.remote.recs
		b.remote.recs = nil
		equal(t, "full", b.sync(store.Spec{Mode: store.ModeFull}).Deleted, 0)
		equal(t, "rows", b.number("SELECT count(*) FROM contacts"), 40)
		b.remote.recs = all
		equal(t, "again", b.sync(store.Spec{Mode: store.ModeFull}), store.Counters{Read: 40, Unchanged: 40})
	})
}

// TestValueOutOfRange: a number that the column cannot hold costs its record.
func TestValueOutOfRange(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.fill(6)
		b.remote.set("r1", "score", record.N("99999999999"))
		b.remote.set("r2", "score", record.N("1e400000"))
		b.remote.set("r3", "score", record.T("NaN"))
		b.remote.set("r4", "name", record.T("a\x00b"))
		equal(t, "counters", b.sync(store.Spec{}), store.Counters{Read: 6, Created: 2, Parked: 4})
		equal(t, "parked", b.number("SELECT count(*) FROM tandem_parked WHERE remote_id IN ('r1', 'r2', 'r3', 'r4')"), 4)
	})
}

// TestIdleWriteTransactionElsewhere: somebody forgets a transaction that has
// written, in another database of the server and in this one beside our tables.
// A sync does not wait for it and misses nothing.
func TestIdleWriteTransactionElsewhere(t *testing.T) {
	t.Parallel()
	address := testenv.Postgres(t)
	b := newWorkbench(t, address)
	other, err := url.Parse(testenv.Postgres(t))
	must(t, err)
	for _, where := range []string{address, other.String()} {
		db, err := sql.Open("postgres", where)
		must(t, err)
		defer db.Close() //nolint:errcheck // nothing of it counts
		tx, err := db.BeginTx(t.Context(), nil)
		must(t, err)
		defer tx.Rollback() //nolint:errcheck // nothing of it counts
		_, err = tx.ExecContext(t.Context(), "CREATE TABLE forgotten (a integer)")
		must(t, err)
	}
	b.fill(20)
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	in := b.begin(store.Spec{})
	out, err := b.pass().Run(ctx, in)
	must(t, err)
	equal(t, "done", out.Done, true)
	in = b.again(in)
	b.end(in)
	equal(t, "counters", in.Slice.Counters, store.Counters{Read: 20, Created: 20})
	b.write(func(ctx context.Context, tx *store.Tx) error {
		depth, err := tx.OutboxDepth(ctx)
		if err != nil {
			return err
		}
		out, err := tx.TakeOutgoing(ctx, 100)
		equal(t, "messages that the relay sees", int64(len(out)), depth)
		return err
	})
}

// TestRemoteChangesItsFields: a field that the remote no longer sends leaves the
// rows as they are, and one that becomes something else costs its records only.
func TestRemoteChangesItsFields(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.fill(6)
		b.sync(store.Spec{})
		for i := range b.remote.recs {
			delete(b.remote.recs[i].vals, "name")
		}
		equal(t, "field removed", b.sync(store.Spec{Mode: store.ModeFull}), store.Counters{Read: 6, Unchanged: 6})
		equal(t, "names", b.number("SELECT count(*) FROM contacts WHERE name LIKE 'n%'"), 6)
		for _, id := range []string{"r1", "r2"} {
			b.remote.set(id, "score", record.J(`{"value":1}`))
		}
		equal(t, "type changed", b.sync(store.Spec{Mode: store.ModeFull}), store.Counters{Read: 6, Unchanged: 4, Parked: 2})
		equal(t, "rows", b.number("SELECT count(*) FROM contacts"), 6)
	})
}
