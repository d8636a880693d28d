package pass_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/pass"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// workbench is a workbench: a database with a table, a remote, and a connector
// between them.
type workbench struct {
	t      *testing.T
	db     *store.DB
	remote *memory
	chID   int64
	connID int64
	spec   mapping.Spec
	opts   func(c *pass.Connector)
	// modified is the entity's modified column.
	modified string
}

// onBoth runs a test on both databases.
func onBoth(t *testing.T, test func(t *testing.T, b *workbench)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newWorkbench(t, "sqlite:"+t.TempDir()+"/t.db"))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newWorkbench(t, testenv.Postgres(t)))
	})
}

func newWorkbench(t *testing.T, url string) *workbench {
	ctx := t.Context()
	db, err := store.Open(ctx, store.Config{URL: url})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	must(t, db.Migrate(ctx))
	b := &workbench{t: t, db: db, remote: newMemory(), spec: mapping.Spec{
		Fields: []mapping.Field{
			{Local: "email", Remote: "email", Direction: mapping.ToLocal},
			{Local: "name", Remote: "name", Direction: mapping.ToLocal},
			{Local: "score", Remote: "score", Direction: mapping.ToLocal},
		},
		Match: [][]string{{"email"}},
	}}
	b.write(func(ctx context.Context, tx *store.Tx) error {
		id := "id integer primary key"
		if db.Dialect() == store.Postgres {
			id = "id bigint generated always as identity primary key"
		}
		// The trigger counts what an update really touches.
		for _, q := range b.schema(id) {
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return err
			}
		}
		var err error
		if b.chID, _, _, err = tx.PutChannel(ctx, store.Channel{Name: "crm", Type: "memory", Enabled: true, Settings: []byte(`{}`)}); err != nil {
			return err
		}
		conns, err := tx.PutConnectors(ctx, b.chID, []store.Connector{{Name: "contacts"}})
		b.connID = conns[0].ID
		return err
	})
	return b
}

func (b *workbench) schema(id string) []string {
	table := "CREATE TABLE contacts (" + id + ", email text UNIQUE, name text, score integer CHECK (score < 1000), note text DEFAULT 'mine')"
	if b.db.Dialect() == store.SQLite {
		return []string{
			table, "CREATE TABLE touched (n integer)", "INSERT INTO touched VALUES (0)",
			"CREATE TRIGGER count_updates AFTER UPDATE ON contacts BEGIN UPDATE touched SET n = n + 1; END",
		}
	}
	return []string{
		table, "CREATE TABLE touched (n integer)", "INSERT INTO touched VALUES (0)",
		"CREATE FUNCTION count_updates() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE touched SET n = n + 1; RETURN NULL; END $$",
		"CREATE TRIGGER count_updates AFTER UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION count_updates()",
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *workbench) write(fn func(ctx context.Context, tx *store.Tx) error) {
	b.t.Helper()
	must(b.t, b.db.Write(b.t.Context(), "test", fn))
}

func (b *workbench) exec(q string, args ...any) {
	b.t.Helper()
	b.write(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, tx.Rebind(q), args...)
		return err
	})
}

// number asks for one number.
func (b *workbench) number(q string, args ...any) (n int64) {
	b.t.Helper()
	must(b.t, b.db.Read(b.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.GetContext(ctx, &n, tx.Rebind(q), args...)
	}))
	return n
}

// row gives name, score and note of the row with the email; "" for NULL.
func (b *workbench) row(email string) (name, score, note string) {
	b.t.Helper()
	var n, s, o sql.NullString
	must(b.t, b.db.Read(b.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRowContext(ctx, tx.Rebind("SELECT name, CAST(score AS text), note FROM contacts WHERE email = ?"), email).Scan(&n, &s, &o)
	}))
	return n.String, s.String, o.String
}

// connector compiles the mapping against the table as it is now.
func (b *workbench) connector() pass.Connector {
	b.t.Helper()
	c := pass.Connector{
		ID: b.connID, Name: "contacts", ChannelID: b.chID, Channel: "crm", Remote: b.remote.connector(),
		Conflict: judge.Newest, Create: true, OnRemoteDelete: pass.DeleteRow, Overlap: time.Minute,
	}
	must(b.t, b.db.Read(b.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		table, err := entities.Introspect(ctx, tx, entities.Spec{Name: "contacts", Table: "contacts", Key: []string{"id"}, Modified: b.modified})
		if err != nil {
			return err
		}
		m, problems := mapping.Compile(b.spec, table.Column)
		if len(problems) > 0 {
			b.t.Fatal(problems)
		}
		cols, _ := m.SetLocal()
		c.Manual = m
		c.Local, err = table.Bind(m, "", cols)
		return err
	}))
	if b.opts != nil {
		b.opts(&c)
	}
	return c
}

// begin makes a run with one slice and a lease.
func (b *workbench) begin(spec store.Spec) pass.Input {
	b.t.Helper()
	in := pass.Input{TTL: time.Minute}
	spec.Kind = store.KindSync
	if spec.Mode == "" {
		spec.Mode = store.ModeIncremental
	}
	b.write(func(ctx context.Context, tx *store.Tx) error {
		run, _, _, err := tx.AddRequest(ctx, store.Request{ChannelID: b.chID, Trigger: store.TriggerManual, Spec: spec}, false)
		if err != nil {
			return err
		}
		if _, err := tx.StartRun(ctx, run.ID, []store.Slice{{ConnectorID: b.connID}}); err != nil {
			return err
		}
		if in.Run, err = tx.Run(ctx, run.ID); err != nil {
			return err
		}
		slices, err := tx.Slices(ctx, run.ID)
		if err != nil {
			return err
		}
		in.Slice = slices[0]
		if spec.Flags.DryRun {
			return nil
		}
		in.Lease, err = b.lease(ctx, tx)
		return err
	})
	return in
}

func (b *workbench) lease(ctx context.Context, tx *store.Tx) (store.Lease, error) {
	l, _, err := tx.AcquireLease(ctx, store.LeaseKey{ChannelID: b.chID, ConnectorID: b.connID, Direction: store.KindSync}, "test", time.Minute)
	return l, err
}

// again reads the slice anew, as the next delivery would.
func (b *workbench) again(in pass.Input) pass.Input {
	b.t.Helper()
	must(b.t, b.db.Read(b.t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
		in.Slice, err = tx.Slice(ctx, in.Slice.ID)
		return err
	}))
	return in
}

func (b *workbench) pass() *pass.Direct {
	return &pass.Direct{DB: b.db, C: b.connector(), Clock: clock.System{}, BatchRecords: 5}
}

// end closes the run of a slice.
func (b *workbench) end(in pass.Input) {
	b.t.Helper()
	b.write(func(ctx context.Context, tx *store.Tx) error {
		if in.Lease.Epoch > 0 {
			if err := tx.ReleaseLease(ctx, in.Lease); err != nil {
				return err
			}
		}
		_, err := tx.FinishRun(ctx, in.Run.ID, store.StatusFinished, nil)
		return err
	})
}

// sync does a whole run and returns its counters.
func (b *workbench) sync(spec store.Spec) store.Counters {
	b.t.Helper()
	in := b.begin(spec)
	out, err := b.pass().Run(b.t.Context(), in)
	must(b.t, err)
	if !out.Done {
		b.t.Fatal("the slice is not done")
	}
	in = b.again(in)
	b.end(in)
	return in.Slice.Counters
}
