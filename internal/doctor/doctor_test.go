package doctor_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-sync/tandem/channels"
	_ "github.com/tandem-sync/tandem/channels/all"
	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/internal/doctor"
	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/seal"
	"github.com/tandem-sync/tandem/workers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// remote is a service with one contact; its clock may be off and it may let
// nobody in, or nobody read.
type remote struct {
	skew   time.Duration
	status func(path string) int
}

func (r remote) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Date", time.Now().Add(r.skew).UTC().Format(http.TimeFormat))
	if r.status != nil {
		if code := r.status(req.URL.Path); code != 0 {
			w.WriteHeader(code)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"items":[{"id":"1","email":"a@x.org","name":"A"}],"total":1}`))
}

const yaml = `
database: %s
broker: %s
secret_key: %s
network: {allow: [127.0.0.0/8]}
entities:
  contacts: {table: contacts, key: id}
channels:
  - name: crm
    type: rest
    schedule: "off"
    transport: {base_url: "%s", token: s3cret-token}
    connectors:
      - name: contacts
        entity: contacts
        match: [[email]]
        mapping:
          - {local: email, remote: email}
          - {local: name, remote: name}
        remote:
          list: {path: /contacts, records: items, page: {by: page, param: p, total_at: total}}
          id: id
`

// clinic is a deployment that is looked over.
type clinic struct {
	t    *testing.T
	cfg  doctor.Config
	db   *store.DB
	keys *seal.Keyring
}

func newClinic(t *testing.T, database, broker string, r remote) *clinic {
	t.Helper()
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	key := seal.NewKey()
	keys, err := seal.New(key)
	must(t, err)
	f, problems := config.Parse("t.yaml", fmt.Appendf(nil, yaml, database, broker, key, srv.URL), func(string) (string, bool) { return "", false })
	must(t, problems.Err())
	return &clinic{t: t, keys: keys, cfg: doctor.Config{File: f, Keys: keys, Registry: channels.Default}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// settle makes the schema, the table and the stored channel.
func (c *clinic) settle(tables ...string) {
	c.t.Helper()
	ctx := c.t.Context()
	db, err := store.Open(ctx, store.Config{URL: c.cfg.File.Database})
	must(c.t, err)
	c.t.Cleanup(func() { must(c.t, db.Close()) })
	c.db = db
	must(c.t, db.Migrate(ctx))
	c.exec(tables...)
	_, err = workers.Apply(ctx, db, c.keys, channels.Default, c.cfg.File)
	must(c.t, err)
}

func (c *clinic) exec(list ...string) {
	c.t.Helper()
	must(c.t, c.db.Write(c.t.Context(), "test", func(ctx context.Context, tx *store.Tx) error {
		for _, q := range list {
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return fmt.Errorf("%s: %w", q, err)
			}
		}
		return nil
	}))
}

// look examines and gives the findings by "area/check"; of several of the same
// name the worst.
func (c *clinic) look() (map[string]doctor.Check, doctor.Summary) {
	c.t.Helper()
	rank := map[doctor.Status]int{doctor.OK: 0, doctor.Warn: 1, doctor.Fail: 2}
	out := map[string]doctor.Check{}
	sum, err := doctor.Examine(c.t.Context(), c.cfg, func(k doctor.Check) error {
		if k.Message == "" || k.Check == "" || k.Status != doctor.OK && k.Fix == "" || k.Status == doctor.OK && k.Fix != "" {
			c.t.Errorf("a finding without what it needs: %+v", k)
		}
		if strings.Contains(k.Message+k.Fix, "s3cret") {
			c.t.Errorf("a secret is told: %+v", k)
		}
		name := k.Area + "/" + k.Check
		if old, ok := out[name]; !ok || rank[k.Status] >= rank[old.Status] {
			out[name] = k
		}
		return nil
	})
	must(c.t, err)
	return out, sum
}

// want checks findings given as "area/check", status and a part of message or fix.
func (c *clinic) want(got map[string]doctor.Check, list ...[3]string) {
	c.t.Helper()
	for _, w := range list {
		k, ok := got[w[0]]
		if !ok || string(k.Status) != w[1] || !strings.Contains(k.Message+" | "+k.Fix, w[2]) {
			c.t.Errorf("%s: got %+v (there: %v), want %s with %q", w[0], k, ok, w[1], w[2])
		}
	}
}

func sqliteURL(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "t.db") }

const sqliteTable = "CREATE TABLE contacts (id integer primary key, email text, name text)"

func TestHealthySQLite(t *testing.T) {
	t.Parallel()
	c := newClinic(t, sqliteURL(t), "embedded", remote{})
	c.settle(sqliteTable, "CREATE UNIQUE INDEX contacts_email ON contacts (lower(trim(email)))")
	got, sum := c.look()
	c.want(got,
		[3]string{"configuration/file", "ok", ""}, [3]string{"database/version", "ok", "SQLite 3."}, [3]string{"database/schema", "ok", ""},
		[3]string{"database/wal", "ok", "WAL"}, [3]string{"database/disk", "ok", "GiB"}, [3]string{"database/file mode", "ok", ""}, [3]string{"database/permissions", "ok", ""},
		[3]string{"database/table contacts", "ok", "connector contacts"}, [3]string{"broker/reachable", "ok", "inside"},
		[3]string{"channel/connect", "ok", ""}, [3]string{"channel/auth", "ok", ""}, [3]string{"channel/record contacts", "ok", "record 1"},
		[3]string{"channel/clock", "ok", "agrees"})
	if sum.Fail != 0 || sum.Warn != 0 || sum.Unavailable != 0 || sum.OK < 12 {
		t.Errorf("sum %+v of %v", sum, got)
	}
}

func TestBeforeTheFirstStart(t *testing.T) {
	t.Parallel()
	c := newClinic(t, sqliteURL(t), "embedded", remote{})
	got, sum := c.look()
	c.want(got, [3]string{"database/reachable", "warn", "no database"}, [3]string{"channel/stored", "warn", "tandem apply"}, [3]string{"channel/record contacts", "ok", ""})
	path := strings.TrimPrefix(c.cfg.File.Database, "sqlite:")
	if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) > 0 || sum.Fail > 0 {
		t.Errorf("looking made %v (%v), sum %+v", list, err, sum)
	}
	c.cfg.File.Database = "sqlite:" + filepath.Join(filepath.Dir(path), "nowhere", "t.db")
	got, _ = c.look()
	c.want(got, [3]string{"database/disk", "fail", "make the folder"})
}

func TestSickSQLite(t *testing.T) {
	t.Parallel()
	c := newClinic(t, sqliteURL(t), "embedded", remote{skew: -2 * time.Hour})
	c.settle(sqliteTable)
	path := strings.TrimPrefix(c.cfg.File.Database, "sqlite:")
	must(t, os.Chmod(path, 0o644))
	must(t, os.WriteFile(path+".key", []byte("x"), 0o644)) //nolint:gosec // that is the fault
	must(t, os.Chmod(path+".key", 0o640))
	got, _ := c.look()
	c.want(got,
		[3]string{"database/file mode", "fail", "chmod 600 " + path + ".key"}, [3]string{"database/index contacts", "warn", "CREATE INDEX"},
		[3]string{"channel/clock", "warn", "2h0m0s behind"})
	c.exec("ALTER TABLE contacts RENAME COLUMN name TO names")
	got, _ = c.look()
	c.want(got, [3]string{"database/table contacts", "fail", "name"})
	c.exec("DROP TABLE contacts")
	got, sum := c.look()
	c.want(got, [3]string{"database/table contacts", "fail", "contacts"})
	if sum.Unavailable != 0 {
		t.Errorf("sum %+v", sum)
	}
	// Another key cannot open what is stored.
	other, err := seal.New(seal.NewKey())
	must(t, err)
	c.cfg.Keys = other
	got, _ = c.look()
	c.want(got, [3]string{"channel/configuration", "fail", "key"})
	must(t, c.db.Write(t.Context(), "disable", func(ctx context.Context, tx *store.Tx) error {
		ch, err := tx.ChannelByName(ctx, "crm")
		if err != nil {
			return err
		}
		return tx.SetChannelEnabled(ctx, ch.ID, false)
	}))
	c.cfg.Keys = c.keys
	got, _ = c.look()
	c.want(got, [3]string{"channel/enabled", "warn", "tandem channels enable crm"})
	c.exec("DELETE FROM tandem_schema WHERE version_id > 1")
	got, sum = c.look()
	c.want(got, [3]string{"database/schema", "fail", "tandem migrate"})
	if sum.Unavailable != 1 {
		t.Errorf("a schema that is too old: %+v", sum)
	}
}

func TestSickRemote(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status func(path string) int
		check  string
		fix    string
	}{
		"sign-in": {func(string) int { return http.StatusUnauthorized }, "channel/auth", "transport.token"},
		"away":    {func(string) int { return http.StatusBadGateway }, "channel/auth", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClinic(t, sqliteURL(t), "embedded", remote{status: tc.status})
			c.settle(sqliteTable)
			got, sum := c.look()
			c.want(got, [3]string{tc.check, "fail", tc.fix})
			if sum.Fail != 1 || sum.Unavailable != 0 {
				t.Errorf("sum %+v", sum)
			}
		})
	}
	// Through somebody else who tests.
	c := newClinic(t, sqliteURL(t), "embedded", remote{})
	c.settle(sqliteTable)
	c.cfg.Test = func(_ context.Context, name string) ([]workers.TestStage, error) {
		return []workers.TestStage{{Stage: "scope " + name, Message: "403"}, {Stage: "quota", OK: true, Warn: true, Message: "1 of 100 left", Hint: "wait"}}, nil
	}
	got, _ := c.look()
	c.want(got, [3]string{"channel/scope crm", "fail", "tandem channels test crm"}, [3]string{"channel/quota", "warn", "wait"})
}

func TestProblemsOfTheFile(t *testing.T) {
	t.Parallel()
	c := newClinic(t, sqliteURL(t), "embedded", remote{})
	c.cfg.Problems = config.Problems{{File: "t.yaml", Line: 3, Column: 5, Field: "broker", Message: "is odd", Fix: "mend it"}}
	got, sum := c.look()
	c.want(got, [3]string{"configuration/file", "fail", "t.yaml:3:5: broker: is odd | mend it"})
	if sum.Fail != 1 {
		t.Errorf("sum %+v", sum)
	}
}

const postgresTable = "CREATE TABLE contacts (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text, name text)"

func TestPostgres(t *testing.T) {
	t.Parallel()
	admin := testenv.Postgres(t)
	c := newClinic(t, admin, "embedded", remote{})
	got, sum := c.look()
	c.want(got, [3]string{"database/schema", "fail", "tandem migrate"})
	if sum.Unavailable != 1 {
		t.Errorf("no schema: %+v", sum)
	}
	c.settle(postgresTable, "CREATE INDEX ON contacts (lower(btrim(email)))")
	got, sum = c.look()
	c.want(got,
		[3]string{"database/version", "ok", "PostgreSQL"}, [3]string{"database/schema", "ok", ""}, [3]string{"database/clock", "ok", "agrees"},
		[3]string{"database/permissions", "ok", ""}, [3]string{"database/temporary tables", "ok", ""}, [3]string{"database/writable", "ok", ""},
		[3]string{"database/settings", "ok", ""}, [3]string{"database/prepared transactions", "ok", ""}, [3]string{"database/idle transactions", "ok", ""},
		[3]string{"database/table contacts", "ok", ""})
	if sum.Fail != 0 {
		t.Errorf("sum %+v of %v", sum, got)
	}

	// A user with less than is needed, and settings that bite.
	role := fmt.Sprintf("doctor_%d", time.Now().UnixNano())
	var name string
	must(t, c.db.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.GetContext(ctx, &name, "SELECT current_database()")
	}))
	c.exec("CREATE ROLE "+role+" LOGIN PASSWORD 'doctor'",
		"GRANT USAGE ON SCHEMA public TO "+role, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO "+role,
		"GRANT INSERT, UPDATE, DELETE ON tandem_channel TO "+role,
		"GRANT UPDATE (email) ON contacts TO "+role,
		"REVOKE TEMPORARY ON DATABASE "+name+" FROM PUBLIC",
		"ALTER ROLE "+role+" SET idle_session_timeout = '5min'", "ALTER ROLE "+role+" SET default_transaction_isolation = 'serializable'",
		"DROP INDEX contacts_lower_idx", "DROP INDEX IF EXISTS contacts_btrim_idx")
	t.Cleanup(func() { c.drop(role) })
	u, err := url.Parse(admin)
	must(t, err)
	u.User = url.UserPassword(role, "doctor")
	c.cfg.File.Database = u.String()
	got, sum = c.look()
	c.want(got,
		[3]string{"database/permissions", "fail", "UPDATE on tandem_run"}, [3]string{"database/permissions", "fail", "USAGE on sequence tandem_link_id"},
		[3]string{"database/temporary tables", "fail", "GRANT TEMPORARY"},
		[3]string{"database/settings", "warn", "idle_session_timeout is 5min"}, [3]string{"database/settings", "warn", "default_transaction_isolation is serializable"},
		[3]string{"database/table contacts", "fail", "INSERT on public.contacts, UPDATE on public.contacts"}, [3]string{"database/table contacts", "fail", "GRANT INSERT ON"},
		[3]string{"database/table contacts", "fail", "GRANT USAGE ON SEQUENCE"}, [3]string{"database/index contacts", "warn", "CREATE INDEX CONCURRENTLY"})
	if k := got["database/permissions"]; strings.Contains(k.Message, "on tandem_channel,") || !strings.Contains(k.Fix, "owner") {
		t.Errorf("permissions = %+v", k)
	}
	if sum.Unavailable != 0 {
		t.Errorf("sum %+v", sum)
	}
	// What the statements of the fixes give is enough.
	c.exec("GRANT INSERT, UPDATE (name) ON contacts TO "+role, "GRANT USAGE ON SEQUENCE contacts_id_seq TO "+role)
	got, _ = c.look()
	c.want(got, [3]string{"database/table contacts", "ok", ""})

	c.exec("ALTER ROLE " + role + " SET default_transaction_read_only = on")
	got, _ = c.look()
	c.want(got, [3]string{"database/writable", "fail", "standby"})

	u.User = url.UserPassword(role, "wrong")
	c.cfg.File.Database = u.String()
	got, _ = c.look()
	c.want(got, [3]string{"database/reachable", "fail", ""})
	u.Host = "127.0.0.1:1"
	c.cfg.File.Database = u.String()
	got, sum = c.look()
	c.want(got, [3]string{"database/reachable", "fail", "start PostgreSQL"})
	if sum.Unavailable != 1 {
		t.Errorf("unreachable: %+v", sum)
	}
}

// drop takes a role away with all that was given to it.
func (c *clinic) drop(role string) {
	err := c.db.Write(context.Background(), "drop role", func(ctx context.Context, tx *store.Tx) error {
		for _, q := range []string{"DROP OWNED BY " + role, "DROP ROLE " + role} {
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		c.t.Error(err)
	}
}
