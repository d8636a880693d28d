package pass_test

import (
	"testing"

	"github.com/tandem-sync/tandem/store"
)

// A row is deleted here, and before that has gone out the direct sync meets its
// record, which was edited there. The deletion still has to go out: else the
// record would stay there for ever without a row.
func TestDeletedHereAndEditedThere(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.remote.put("1", "email", "ann@x.org", "name", "Ann")
		p.sync(store.Spec{})
		p.push(store.Spec{})
		p.exec("DELETE FROM contacts")
		p.remote.put("1", "email", "ann@x.org", "name", "Annie")
		eq(t, "skipped", p.sync(store.Spec{}).Skipped, 1)
		eq(t, "deleted there", p.push(store.Spec{}).Deleted, 1)
		eq(t, "the record", p.there("1", "name"), "(deleted)")
		eq(t, "links", p.number("SELECT count(*) FROM tandem_link WHERE state = 0"), 0)
		p.quiet()
	})
}
