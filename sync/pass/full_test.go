package pass_test

import (
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/pass"
)

// TestFullWhenDue has a run that started by itself read everything when it is
// time, and nobody else's.
func TestFullWhenDue(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		const skew = 5 * time.Hour // the remote's clock says nothing about ours
		due := false
		var last time.Time
		b.opts = func(c *pass.Connector) {
			c.Overlap = -skew
			c.FullDue = func(at, now time.Time) bool {
				if !now.After(at) {
					t.Errorf("the last complete read began at %v, and now is %v", at, now)
				}
				last = at
				return due
			}
		}
		read := func(trigger store.Trigger, spec store.Spec) int64 {
			t.Helper()
			in := b.begin(spec)
			in.Run.Trigger = trigger
			out, err := b.pass().Run(t.Context(), in)
			must(t, err)
			if !out.Done {
				t.Fatal("the slice is not done")
			}
			in = b.again(in)
			b.end(in)
			return in.Slice.Counters.Read
		}
		b.fill(10)
		before := time.Now()
		equal(t, "first", read(store.TriggerSchedule, store.Spec{}), 10)
		equal(t, "not due", read(store.TriggerSchedule, store.Spec{}), 0)
		if last.Before(before.Add(-time.Second)) || last.After(time.Now()) {
			t.Errorf("the last complete read began at %v, not after %v", last, before)
		}
		due = true
		equal(t, "due, but a person asked", read(store.TriggerManual, store.Spec{}), 0)
		from := time.Now().Add(time.Hour)
		equal(t, "due, but a window", read(store.TriggerSchedule, store.Spec{Start: &from}), 0)
		first := last
		equal(t, "due", read(store.TriggerSchedule, store.Spec{}), 10)
		due = false
		equal(t, "done", read(store.TriggerSchedule, store.Spec{}), 0)
		if !last.After(first) {
			t.Errorf("a complete read was not noted: %v", last)
		}
	})
}
