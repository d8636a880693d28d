package pass_test

import (
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/store"
)

// With the policy newest a first link picks each field by its own time, where
// the remote tells one, else by the time of the record.
func TestFirstLinkPicksByTheTimeOfTheField(t *testing.T) {
	t.Parallel()
	local := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	day := 24 * time.Hour
	for name, tc := range map[string]struct {
		record      time.Time
		name, score time.Time // of the fields; zero not told
		wantName    string
		wantScore   string
	}{
		"one field newer, one older": {local.Add(day), local.Add(day), local.Add(-day), "theirs", "1"},
		"the other way round":        {local.Add(day), local.Add(-day), local.Add(day), "mine", "2"},
		"a field without a time":     {local.Add(day), local.Add(-day), time.Time{}, "mine", "2"},
		"an older record":            {local.Add(-day), time.Time{}, time.Time{}, "mine", "1"},
		"within a second":            {local.Add(day), local.Add(900 * time.Millisecond), local.Add(1100 * time.Millisecond), "mine", "2"},
		"no time at all":             {time.Time{}, time.Time{}, time.Time{}, "mine", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, b *workbench) {
				b.modified = "changed"
				if b.db.Dialect() == store.SQLite {
					b.exec("ALTER TABLE contacts ADD COLUMN changed integer")
					b.exec("INSERT INTO contacts (email, name, score, changed) VALUES ('a@x.org', 'mine', 1, ?)", local.Unix())
				} else {
					b.exec("ALTER TABLE contacts ADD COLUMN changed timestamptz")
					b.exec("INSERT INTO contacts (email, name, score, changed) VALUES ('a@x.org', 'mine', 1, ?)", local)
				}
				b.remote.put("r1", "email", "a@x.org", "name", "theirs", "score", "2")
				b.remote.tampered = func(p *channels.Page) {
					for i := range p.Records {
						p.Records[i].Modified, p.Records[i].ChangedAt = tc.record, []time.Time{{}, tc.name, tc.score}
					}
				}
				got := b.sync(store.Spec{})
				equal(t, "conflicts", got.Conflicts, 2)
				equal(t, "created", got.Created, 0)
				gotName, gotScore, _ := b.row("a@x.org")
				equal(t, "name and score", gotName+" "+gotScore, tc.wantName+" "+tc.wantScore)
				equal(t, "the modified column", b.number("SELECT count(*) FROM contacts WHERE changed IS NOT NULL"), 1)
			})
		})
	}
}

// A row whose time is not known stays as it is.
func TestFirstLinkWithoutALocalTimeKeepsTheRow(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.exec("INSERT INTO contacts (email, name, score) VALUES ('a@x.org', 'mine', 1)")
		b.remote.put("r1", "email", "a@x.org", "name", "theirs", "score", "2")
		b.sync(store.Spec{})
		name, score, _ := b.row("a@x.org")
		equal(t, "name and score", name+" "+score, "mine 1")
	})
}
