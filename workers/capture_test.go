package workers

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
)

// A stored entity's triggers watch what its connectors write to their remotes and
// what their scopes look at; connectors that only read do not count.
func TestCaptureOfStoredEntities(t *testing.T) {
	t.Parallel()
	for _, dialect := range []store.Dialect{store.SQLite, store.Postgres} {
		t.Run(dialect.String(), func(t *testing.T) {
			t.Parallel()
			url := "sqlite:" + filepath.Join(t.TempDir(), "t.db")
			if dialect == store.Postgres {
				url = testenv.Postgres(t)
			}
			ctx := t.Context()
			db, err := store.Open(ctx, store.Config{URL: url})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			if err := db.Migrate(ctx); err != nil {
				t.Fatal(err)
			}
			storeCaptured(t, db)

			list, err := CaptureInstall(ctx, db, nil)
			if err != nil || len(list) != 1 || !list[0].Right() || !slices.Equal(list[0].Columns, []string{"email", "name", "status"}) {
				t.Fatalf("%+v %v", list, err)
			}
			all, err := CaptureStatus(ctx, db, nil)
			if err != nil || len(all) != 3 || !all[0].Right() || !all[1].Right() || len(all[2].Problems) != 1 || !strings.Contains(all[2].Problems[0], "does not exist") {
				t.Errorf("%+v %v", all, err)
			}
			if _, err := CaptureInstall(ctx, db, nil, "quiet"); fault.CodeOf(err) != fault.CodeUsage {
				t.Errorf("install where capture is none: %v", err)
			}
			if _, err := CaptureStatus(ctx, db, nil, "nobody"); fault.CodeOf(err) != fault.CodeNotFound || !strings.Contains(fault.HintOf(err), "people") {
				t.Errorf("unknown entity: %v", err)
			}
			if list, err = CaptureRemove(ctx, db, nil); err != nil || len(list) != 1 || list[0].Installed {
				t.Errorf("%+v %v", list, err)
			}
			refreshed(t, db)
		})
	}
}

// refreshed checks that refreshing puts triggers back that are missing, leaves the
// rest alone, and has all rows looked at once more.
func refreshed(t *testing.T, db *store.DB) {
	t.Helper()
	ctx := t.Context()
	var channel, connector int64
	rounds := func() (last time.Time) {
		t.Helper()
		if err := db.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
			last, err = tx.LastPass(ctx, channel, connector)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return last
	}
	err := db.Write(ctx, "test", func(ctx context.Context, tx *store.Tx) error {
		crm, err := tx.ChannelByName(ctx, "crm")
		if err != nil {
			return err
		}
		list, err := tx.PutConnectors(ctx, crm.ID, []store.Connector{{Name: "people", Entity: "people", Outward: true}})
		if err != nil {
			return err
		}
		channel, connector = crm.ID, list[0].ID
		id, err := tx.StartPass(ctx, channel, connector, nil)
		if err != nil {
			return err
		}
		return tx.AdvancePass(ctx, store.PassStep{ID: id, Finished: true})
	})
	if err != nil || connector == 0 || rounds().IsZero() {
		t.Fatalf("connector %d, error %v", connector, err)
	}
	for range 2 { // the second time nothing is to do
		if err := CaptureRefresh(ctx, db, nil, "people", "quiet", "nobody"); err != nil {
			t.Fatal(err)
		}
		if list, err := CaptureStatus(ctx, db, nil, "people"); err != nil || !list[0].Right() || !rounds().IsZero() {
			t.Fatalf("%+v %v, last round %s", list, err, rounds())
		}
	}
	err = db.Write(ctx, "test", func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, "DROP TABLE people")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := CaptureRefresh(ctx, db, nil, "people"); fault.CodeOf(err) != fault.CodeConfig {
		t.Errorf("without a table: %v", err)
	}
}

// storeCaptured stores three entities, one of them without a table, and two
// channels.
func storeCaptured(t *testing.T, db *store.DB) {
	t.Helper()
	connector := func(direction string, cols ...string) []config.Connector {
		c := config.Connector{Name: "people", Entity: "people", Direction: direction, Create: "none", DeleteLocal: "unlink", DeleteRemote: "ignore"}
		for _, col := range cols {
			c.Mapping = append(c.Mapping, mapping.Field{Local: col, Remote: col, Direction: map[string]mapping.Direction{"both": mapping.Both, "to_local": mapping.ToLocal}[direction]})
		}
		return []config.Connector{c}
	}
	both := connector("both", "name", "email")
	both[0].Scope.Local = `status == "on"`
	clearText := func(_, plain string) (string, error) { return plain, nil }
	err := db.Write(t.Context(), "test", func(ctx context.Context, tx *store.Tx) error {
		for _, q := range []string{"CREATE TABLE people (id integer PRIMARY KEY, name text, email text, status text, note text)", "CREATE TABLE quiet (id integer PRIMARY KEY)"} {
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return err
			}
		}
		for _, e := range []config.Entity{
			{Name: "people", Table: "people", Key: []string{"id"}, Capture: CaptureTriggers},
			{Name: "quiet", Table: "quiet", Key: []string{"id"}, Capture: "none"},
			{Name: "vanished", Table: "vanished", Key: []string{"id"}, Capture: "none"},
		} {
			spec, err := e.MarshalStored()
			if err != nil {
				return err
			}
			if _, err := tx.PutEntity(ctx, store.Entity{Name: e.Name, Spec: spec}); err != nil {
				return err
			}
		}
		for _, c := range []config.Channel{
			{Name: "crm", Type: "rest", Conflict: "newest", Connectors: both},
			{Name: "reader", Type: "rest", Conflict: "newest", Connectors: connector("to_local", "note")},
		} {
			settings, err := c.MarshalStored(clearText)
			if err != nil {
				return err
			}
			if _, _, _, err := tx.PutChannel(ctx, store.Channel{Name: c.Name, Type: c.Type, Enabled: true, Settings: settings}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
