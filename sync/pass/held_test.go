package pass_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/pass"
	"github.com/tandem-sync/tandem/sync/record"
)

// items gives the parked items of a record, the oldest first.
func (b *workbench) items(remoteID string) (out []store.Parked) {
	b.t.Helper()
	must(b.t, b.db.Read(b.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.ListParked(ctx, store.ParkedFilter{})
		out = nil
		for i := len(list) - 1; i >= 0; i-- {
			if list[i].RemoteID == remoteID {
				out = append(out, list[i])
			}
		}
		return err
	}))
	return out
}

// skip does what a person does who does not want the record.
func (b *workbench) skip(id int64) {
	b.t.Helper()
	b.write(func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.ResolveAll(ctx, []int64{id}, store.ResolvedSkipped)
		equal(b.t, "skipped items", n, 1)
		return err
	})
}

func TestSkippedRecordStaysOutUntilItChanges(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		full := store.Spec{Mode: store.ModeFull}
		b.fill(3)
		b.remote.put("bad", "email", "bad@x.org", "name", "B", "score", "5000") // the table refuses it
		b.remote.put("odd", "email", "odd@x.org", "name", "O", "score", "many") // no number
		equal(t, "first", b.sync(full), store.Counters{Read: 5, Created: 3, Parked: 2})
		for _, id := range []string{"bad", "odd"} {
			b.skip(b.items(id)[0].ID)
		}
		equal(t, "skipped", b.sync(full), store.Counters{Read: 5, Unchanged: 3, Skipped: 2})
		equal(t, "nothing waits", b.number("SELECT count(*) FROM tandem_parked WHERE resolved = ''"), 0)
		equal(t, "by force", b.sync(store.Spec{Mode: store.ModeFull, Flags: store.Flags{Force: true}}).Parked, 2)
		for _, id := range []string{"bad", "odd"} {
			b.skip(b.items(id)[1].ID)
		}

		b.remote.put("bad", "name", "still bad")
		equal(t, "other data", b.sync(full), store.Counters{Read: 5, Unchanged: 3, Skipped: 1, Parked: 1})
		list := b.items("bad")
		equal(t, "items", len(list), 3)
		equal(t, "the old skip", list[1].Resolved+list[1].Print, store.ResolvedSkipped)
		equal(t, "the new item", list[2].Resolved, "")
		b.skip(list[2].ID)

		b.remote.put("bad", "score", "5")
		equal(t, "mended", b.sync(full), store.Counters{Read: 5, Created: 1, Unchanged: 3, Skipped: 1})
		b.remote.put("bad", "score", "5000")
		equal(t, "as it was", b.sync(full), store.Counters{Read: 5, Unchanged: 3, Skipped: 1, Parked: 1})
	})
}

func TestSkipEndsWithTheMapping(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.remote.put("odd", "email", "odd@x.org", "score", "many")
		b.sync(store.Spec{})
		b.skip(b.items("odd")[0].ID)
		equal(t, "skipped", b.sync(store.Spec{RemoteIDs: []string{"odd"}}), store.Counters{Read: 1, Skipped: 1})
		b.spec.Fields[2].ToLocalExpr = `value == "many" ? 999 : value`
		equal(t, "another mapping", b.sync(store.Spec{RemoteIDs: []string{"odd"}}), store.Counters{Read: 1, Created: 1})
		_, score, _ := b.row("odd@x.org")
		equal(t, "score", score, "999")
	})
}

func TestParkedRecordIsRetriedByItself(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.remote.put("bad", "email", "bad@x.org", "score", "5000")
		b.sync(store.Spec{})
		b.sync(store.Spec{})
		first := b.items("bad")
		equal(t, "one item", len(first), 1)
		equal(t, "attempts", first[0].Attempts, 2)
		b.remote.put("bad", "score", "5")
		equal(t, "changed", b.sync(store.Spec{}), store.Counters{Read: 1, Created: 1})
		equal(t, "resolved", b.items("bad")[0].Resolved, store.ResolvedRetried)
		var tries []store.ParkedAttempt
		must(t, b.db.Read(t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
			tries, err = tx.ParkedAttempts(ctx, first[0].ID)
			return err
		}))
		equal(t, "tries", len(tries), 2)
		if tries[0].Run == tries[1].Run || tries[0].At.IsZero() || tries[1].Reason == "" {
			t.Errorf("tries = %+v", tries)
		}
	})
}

func TestParkedRecordThatIsGone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		full := store.Spec{Mode: store.ModeFull}
		b.fill(4)
		b.remote.put("bad", "email", "bad@x.org", "score", "5000")
		b.remote.put("worse", "email", "worse@x.org", "score", "6000")
		b.sync(full)
		b.remote.remove("bad", "r2")
		b.remote.noGet = true
		b.sync(full)
		equal(t, "nothing is inferred from silence", b.items("bad")[0].Resolved, "")
		b.remote.noGet = false
		equal(t, "counters", b.sync(full), store.Counters{Read: 4, Unchanged: 3, Parked: 1, Deleted: 1})
		equal(t, "gone", b.items("bad")[0].Resolved, store.ResolvedGone)
		equal(t, "the other one", b.items("worse")[0].Resolved, "")

		// One that the listing only leaves out is neither gone nor created.
		b.remote.tampered = func(p *channels.Page) {
			p.Records = slices.DeleteFunc(p.Records, func(r record.Record) bool { return r.ID == "worse" })
		}
		b.remote.put("worse", "score", "6")
		equal(t, "left out", b.sync(full), store.Counters{Read: 3, Unchanged: 3})
		equal(t, "left out", b.items("worse")[0].Resolved, "")
		b.remote.put("worse", "score", "6000")

		// By a tombstone, and by name.
		b.remote.tampered = func(p *channels.Page) {
			p.Records = append(p.Records, record.Record{ID: "worse", Deleted: true, Modified: time.Now().Add(time.Hour)})
		}
		b.sync(store.Spec{})
		equal(t, "tombstone", b.items("worse")[0].Resolved, store.ResolvedGone)
		b.remote.tampered = nil
		b.remote.put("third", "email", "third@x.org", "score", "5000")
		b.sync(store.Spec{})
		b.remote.remove("third")
		equal(t, "by name", b.sync(store.Spec{RemoteIDs: []string{"third"}}), store.Counters{Read: 1, Skipped: 1})
		equal(t, "by name", b.items("third")[0].Resolved, store.ResolvedGone)
	})
}

func TestDryRunLeavesTheLedger(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.remote.put("bad", "email", "bad@x.org", "score", "5000")
		b.remote.put("skipped", "email", "s@x.org", "score", "5000")
		b.sync(store.Spec{})
		b.skip(b.items("skipped")[0].ID)
		b.remote.put("bad", "score", "5")
		b.remote.put("skipped", "score", "6")
		equal(t, "dry", b.sync(store.Spec{Mode: store.ModeFull, Flags: store.Flags{DryRun: true}}).Created, 2)
		equal(t, "bad", b.items("bad")[0].Resolved, "")
		if s := b.items("skipped")[0]; s.Resolved != store.ResolvedSkipped || s.Print == "" {
			t.Errorf("%+v", s)
		}
	})
}

func TestParkedKeepsWhatWasSaid(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.opts = func(c *pass.Connector) {
			c.Redact = func(s string) string { return strings.ReplaceAll(s, "hunter2", "***") }
		}
		refused := *fault.New(fault.Permanent, "refused", "get", "422 no hunter2")
		refused.Answer = `422: {"why":"hunter2"}`
		b.remote.tampered = func(p *channels.Page) {
			for i := range p.Records {
				switch p.Records[i].ID {
				case "r0":
					p.Records[i].Err, p.Records[i].Values = &refused, nil
					p.Records[i].Raw = []byte(`{"note":"hunter2","api_token":"abc"}`)
				case "r1":
					p.Records[i].Raw = nil
				}
			}
		}
		b.fill(2)
		b.remote.put("r1", "score", "5000")
		b.sync(store.Spec{})
		p := b.items("r0")[0]
		equal(t, "reason", p.Reason, "refused")
		equal(t, "payload", string(p.Payload), `{"note":"***","api_token":"***"}`)
		equal(t, "answer", p.Answer, `422: {"why":"***"}`)
		if strings.Contains(p.Message, "hunter2") || !strings.Contains(p.Message, "422") {
			t.Errorf("message = %q", p.Message)
		}
		equal(t, "made of the values", string(b.items("r1")[0].Payload), `{"email":"c1@x.org","name":"n1","score":"5000"}`)
	})
}
