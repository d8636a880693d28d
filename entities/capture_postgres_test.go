package entities

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-sync/tandem/store"
)

func TestCapturePostgresCopy(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.exec("CREATE TABLE people (id int PRIMARY KEY, name text)")
	c := h.capture(people, "people", "name")
	h.write(func(ctx context.Context, tx *store.Tx) error {
		stmt, err := tx.PrepareContext(ctx, "COPY people (id, name) FROM STDIN")
		if err != nil {
			return err
		}
		defer func() { _ = stmt.Close() }() // the last Exec says what went wrong
		for i := range 3 {
			if _, err := stmt.ExecContext(ctx, i, "n"); err != nil {
				return err
			}
		}
		_, err = stmt.ExecContext(ctx)
		return err
	})
	c.wantLogged("u 0", "u 1", "u 2")
}

func TestCapturePostgresStatements(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.exec("CREATE TABLE people (id int PRIMARY KEY, name text, mail text)")
	c := h.capture(people, "people", "name mail")
	// As psql sends a file: several statements, one string.
	c.do("INSERT INTO people SELECT i, 'n' FROM generate_series(1, 3) i; UPDATE people SET name = 'm' WHERE id = 1; DELETE FROM people WHERE id = 2",
		"u 1", `u 1 ["name"]`, "u 2", "d 2", "u 3")
	c.do("WITH gone AS (DELETE FROM people WHERE id = 3 RETURNING id) INSERT INTO people SELECT id + 10, 'x' FROM gone", "u 13", "d 3")
	var version int
	if err := h.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		return tx.GetContext(ctx, &version, "SELECT current_setting('server_version_num')::int")
	}); err != nil {
		t.Fatal(err)
	}
	if version >= 150000 {
		c.do(`MERGE INTO people p USING (VALUES (1, 'u'), (13, 'gone'), (30, 'new')) s(id, name) ON p.id = s.id
			WHEN MATCHED AND s.name = 'gone' THEN DELETE WHEN MATCHED THEN UPDATE SET name = s.name WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.name)`,
			`u 1 ["name"]`, "d 13", "u 30")
	}
	c.do("TRUNCATE people", "r ")
	c.do("INSERT INTO people VALUES (1, 'a'); TRUNCATE people; INSERT INTO people VALUES (1, 'b')", "r ", "u 1", "u 1")
}

func TestCapturePostgresTriggers(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.exec("CREATE TABLE people (id int PRIMARY KEY, name text, mail text)",
		`CREATE FUNCTION before() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.mail = lower(NEW.mail); RETURN NEW; END'`,
		`CREATE TRIGGER b BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION before()`)
	c := h.capture(people, "people", "name mail")
	c.do("INSERT INTO people VALUES (1, 'a', 'A@X')", "u 1")
	c.do("UPDATE people SET mail = 'A@x'")                                  // the trigger makes of it what is there
	c.do("UPDATE people SET name = 'b', mail = 'B'", `u 1 ["mail","name"]`) // and here it does not

	// Another trigger of the table writes to it within ours: not ours.
	h.exec(`CREATE FUNCTION after() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE people SET mail = ''t'' WHERE id = 1 AND mail <> ''t''; RETURN NULL; END'`,
		`CREATE TRIGGER zz AFTER UPDATE ON people FOR EACH ROW WHEN (NEW.mail <> 't') EXECUTE FUNCTION after()`)
	h.write(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.SetOrigin(ctx, 9); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE people SET name = 'c'")
		return err
	})
	got := c.logged(people)
	slices.Sort(got) // which of the two triggers comes first is no matter
	if want := []string{`u 1 ["mail"]`, `u 1 ["name"] @9`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	c.do("UPDATE people SET name = 'd'", `u 1 ["name"]`) // the setting ended with its transaction
}

func TestCapturePostgresPartitions(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.exec("CREATE TABLE people (id int, region text, name text, PRIMARY KEY (region, id)) PARTITION BY LIST (region)",
		"CREATE TABLE people_a PARTITION OF people FOR VALUES IN ('a') PARTITION BY RANGE (id)",
		"CREATE TABLE people_a1 PARTITION OF people_a FOR VALUES FROM (0) TO (100)",
		// Its columns come in another order.
		"CREATE TABLE people_b (name text, gone int, region text NOT NULL, id int NOT NULL)", "ALTER TABLE people_b DROP COLUMN gone",
		"ALTER TABLE people ATTACH PARTITION people_b FOR VALUES IN ('b')")
	c := h.capture(people, "people", "name")
	c.do("INSERT INTO people VALUES (1, 'a', 'x'), (2, 'b', 'y')", `u ["a","1"]`, `u ["b","2"]`)
	c.do("UPDATE people SET name = 'z'", `u ["a","1"] ["name"]`, `u ["b","2"] ["name"]`)
	c.do("UPDATE people_b SET name = 'direct'", `u ["b","2"] ["name"]`)
	c.do("UPDATE people_a SET name = 'middle'", `u ["a","1"] ["name"]`)
	c.do("INSERT INTO people_a1 VALUES (3, 'a', 'leaf')", `u ["a","3"]`)
	c.do("UPDATE people SET region = 'b' WHERE id = 1", `d ["a","1"]`, `u ["b","1"]`) // moves
	c.do("DELETE FROM people_a1", `d ["a","3"]`)
	c.do("TRUNCATE people_b", "r ")

	h.exec("CREATE TABLE people_c PARTITION OF people FOR VALUES IN ('c')")
	c.do("INSERT INTO people VALUES (9, 'c', 'x')", `u ["c","9"]`) // by the table it is seen
	s := c.status()
	if s.Complete() || len(s.Drift) != 4 || !strings.Contains(s.Drift[0], "people_c") {
		t.Errorf("%+v", s)
	}
	c.install()
	c.wantLogged("r ")
	c.do("UPDATE people_c SET name = 'd'", `u ["c","9"] ["name"]`)

	h.exec("ALTER TABLE people DETACH PARTITION people_c")
	if s := c.status(); len(s.Drift) != 4 || !strings.Contains(s.Drift[0], "no part of the entity") {
		t.Errorf("%+v", s)
	}
	c.install()
	c.wantLogged()
	c.do("DELETE FROM people_c")
}

func TestCapturePostgresInheritance(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.exec("CREATE TABLE people (id int PRIMARY KEY, name text)", "CREATE TABLE staff (pay int) INHERITS (people)")
	c := h.capture(people, "people", "name")
	c.do("INSERT INTO staff VALUES (1, 'a', 5)", "u 1")
	c.do("UPDATE people SET name = 'b'", `u 1 ["name"]`)
	c.do("UPDATE staff SET name = 'c', pay = 6", `u 1 ["name"]`)
	c.do("UPDATE staff SET pay = 7")
	c.do("DELETE FROM people", "d 1")
}

// A mapped column that goes, or a key that does, must not fail a user's write.
func TestCapturePostgresDroppedColumns(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.exec("CREATE TABLE people (id int PRIMARY KEY, name text, mail text)")
	c := h.capture(people, "people", "name mail")
	c.do("INSERT INTO people VALUES (1, 'a', 'm'), (2, 'b', 'm')", "u 1", "u 2")
	c.do("UPDATE people SET name = 'c'", `u 1 ["name"]`, `u 2 ["name"]`)
	h.exec("ALTER TABLE people DROP COLUMN mail")
	if s := c.status(); !slices.Equal(s.Dropped, []string{"mail"}) || len(s.Drift) == 0 {
		t.Errorf("%+v", s)
	}
	c.do("UPDATE people SET name = 'd' WHERE id = 1", "u 1", "d 1")
	c.do("UPDATE people SET id = 5 WHERE id = 1", "d 1", "u 5")
	c.do("INSERT INTO people VALUES (3, 'a')", "u 3")
	c.do("DELETE FROM people WHERE id = 3", "d 3")
	c.install()
	c.do("UPDATE people SET name = 'e' WHERE id = 5", `u 5 ["name"]`)
	h.exec("ALTER TABLE people ALTER COLUMN name TYPE json USING to_json(name)")
	c.do("UPDATE people SET name = '1' WHERE id = 5", `u 5 ["name"]`)
	h.exec("ALTER TABLE people RENAME COLUMN id TO number")
	c.do("UPDATE people SET name = '2' WHERE number = 5", "r ")
	c.do("INSERT INTO people VALUES (6, '2')", "r ")
	c.do("DELETE FROM people WHERE number = 6", "r ")
	c.do("TRUNCATE people", "r ")
}

func TestCapturePostgresSwitchedOff(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.exec("CREATE TABLE people (id int PRIMARY KEY, name text)")
	c := h.capture(people, "people", "name")
	h.exec("ALTER TABLE people DISABLE TRIGGER ALL")
	c.do("INSERT INTO people VALUES (1, 'a')")
	if s := c.status(); s.Complete() || len(s.Drift) != 4 || !strings.Contains(s.Drift[0], "disabled") {
		t.Errorf("%+v", s)
	}
	c.install()
	c.wantLogged("r ")
	c.do("SET LOCAL session_replication_role = replica; UPDATE people SET name = 'b'") // as documented
	c.do("UPDATE people SET name = 'c'", `u 1 ["name"]`)

	h.exec(`ALTER FUNCTION "tandem_capture_people"() SECURITY INVOKER`)
	if s := c.status(); len(s.Drift) != 1 || !strings.Contains(s.Drift[0], "other rights") {
		t.Errorf("%+v", s)
	}
	h.exec(`ALTER FUNCTION "tandem_capture_people"() SECURITY DEFINER`, `GRANT EXECUTE ON FUNCTION "tandem_capture_people"() TO PUBLIC`)
	if s := c.status(); len(s.Drift) != 1 || !strings.Contains(s.Drift[0], "everybody") {
		t.Errorf("%+v", s)
	}
	c.install()
}

// What an earlier version of the program installed is found and brought up to date,
// and goes on seeing changes until then.
func TestCapturePostgresOfAnotherVersion(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.exec("CREATE TABLE people (id int PRIMARY KEY, name text)")
	c := h.capture(people, "people", "name")
	h.exec(`DO $$ BEGIN EXECUTE replace(replace(pg_get_functiondef('tandem_capture_people'::regproc), '-- change capture, version 2', ''), 'SET jit TO ''off''', ''); END $$`)
	if s := c.status(); s.Complete() || len(s.Drift) != 1 || !strings.Contains(s.Drift[0], "another version") {
		t.Errorf("%+v", s)
	}
	c.do("INSERT INTO people VALUES (1, 'a')", "u 1")
	c.install()
	if s := c.status(); !s.Complete() {
		t.Errorf("%+v", s)
	}
	c.do("UPDATE people SET name = 'b'", `u 1 ["name"]`)
	h.want("SELECT count(*) FROM pg_proc WHERE proname = 'tandem_capture_people' AND 'jit=off' = ANY(proconfig)", "1")
}

// Collations that take letters for equal, and types that cannot be compared,
// hide no change.
func TestCapturePostgresEquality(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.exec("CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
		"CREATE DOMAIN mail AS text", "CREATE TYPE mood AS ENUM ('ok', 'bad')",
		"CREATE TABLE people (id text COLLATE ci PRIMARY KEY, t text COLLATE ci, j json, jb jsonb, x xml, p point, a int[], c char(5), n numeric, d mail, f float8, m mood, b bytea)",
		`INSERT INTO people VALUES ('a', 'a', '{}', '{}', '<a/>', '(1,1)', '{1}', 'a', 1, 'a', 1, 'ok', '\x00')`)
	c := h.capture(people, "people", "t j jb x p a c n d f m b")
	for _, one := range [][2]string{
		{"t", "'A'"},
		{"j", "'[]'"},
		{"jb", "'[]'"},
		{"x", "'<b/>'"},
		{"p", "'(1,2)'"},
		{"a", "'{1,NULL}'"},
		{"c", "'b'"},
		{"n", "2"},
		{"d", "'b'"},
		{"f", "'NaN'"},
		{"m", "'bad'"},
		{"b", `'\x01'`},
	} {
		c.do(fmt.Sprintf("UPDATE people SET %s = %s", one[0], one[1]), fmt.Sprintf(`u a ["%s"]`, one[0]))
		c.do(fmt.Sprintf("UPDATE people SET %s = %s", one[0], one[1]))
	}
	c.do("UPDATE people SET id = 'A'", "u A", "d a")
}

// Who may write to the table needs no right on anything of Tandem's, and nothing
// in his search path takes the place of what the trigger calls.
func TestCapturePostgresRights(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	role := h.rows("SELECT current_database()")[0] + "_user" // roles are the whole server's
	h.exec("CREATE SCHEMA shop", `CREATE TABLE shop."People" (id timestamptz PRIMARY KEY, name text)`)
	c := h.capture(people, `shop."People"`, "name")
	h.exec("CREATE ROLE "+role, "GRANT "+role+" TO current_user", "GRANT USAGE ON SCHEMA shop TO "+role, `GRANT ALL ON shop."People" TO `+role,
		"CREATE SCHEMA evil AUTHORIZATION "+role)
	t.Cleanup(func() {
		h.exec("DROP OWNED BY "+role+" CASCADE", "DROP ROLE "+role)
	})
	as := "SET LOCAL ROLE " + role + "; SET LOCAL search_path = evil, shop, pg_catalog, public; SET LOCAL TimeZone = 'Asia/Kolkata'; SET LOCAL DateStyle = 'German'; "
	h.exec(as + `
		CREATE TABLE evil.tandem_change_log (entity text, local_key text, op text, fields text, origin bigint, undo bigint);
		CREATE TEMP TABLE tandem_change_log (entity text, local_key text, op text, fields text, origin bigint, undo bigint) ON COMMIT DROP;
		CREATE FUNCTION evil.tandem_capture_people() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
		CREATE FUNCTION evil.concat_ws(text, VARIADIC text[]) RETURNS text LANGUAGE sql AS $$ SELECT 'evil' $$;
		CREATE FUNCTION evil.concat_ws(text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'evil' $$;
		CREATE FUNCTION evil.pg_trigger_depth() RETURNS int LANGUAGE sql AS 'SELECT 99';
		CREATE FUNCTION evil.less(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
		CREATE OPERATOR evil.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.less);
		INSERT INTO "People" VALUES ('2026-11-24 12:00:00.5+00', 'a');
		UPDATE "People" SET name = 'b'`)
	c.wantLogged("u 2026-11-24 12:00:00.5+00", `u 2026-11-24 12:00:00.5+00 ["name"]`)
	h.want("SELECT count(*) FROM evil.tandem_change_log", "0")

	for name, q := range map[string]string{
		"read the log":     "SELECT * FROM public.tandem_change_log",
		"write the log":    "INSERT INTO public.tandem_change_log (entity, local_key, op) VALUES ('people', 'x', 'u')",
		"use the function": `CREATE TABLE evil.t (id timestamptz, name text); CREATE TRIGGER t AFTER INSERT ON evil.t REFERENCING NEW TABLE AS tandem_new FOR EACH STATEMENT EXECUTE FUNCTION public.tandem_capture_people()`,
	} {
		err := h.db.Write(context.Background(), "test", func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.ExecContext(ctx, as+q)
			return err
		})
		if store.SQLState(err) != "42501" {
			t.Errorf("%s: %v, want insufficient_privilege", name, err)
		}
	}
	// A setting that is no number says nothing.
	c.do(as+`SET LOCAL tandem.origin = 'x'; UPDATE "People" SET name = 'c'`, `u 2026-11-24 12:00:00.5+00 ["name"]`)
}

// A user of the database who is not the table's owner is told what is missing.
func TestCapturePostgresWithoutTriggerRight(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	role := h.rows("SELECT current_database()")[0] + "_user" // roles are the whole server's
	h.exec("CREATE TABLE people (id int PRIMARY KEY, name text)", "CREATE ROLE "+role, "GRANT "+role+" TO current_user", "GRANT USAGE ON SCHEMA public TO "+role,
		"GRANT SELECT ON ALL TABLES IN SCHEMA public TO "+role)
	t.Cleanup(func() { h.exec("DROP OWNED BY "+role+" CASCADE", "DROP ROLE "+role) })
	table, err := h.introspect(Spec{Name: people, Table: "people"})
	if err != nil {
		t.Fatal(err)
	}
	err = h.db.Write(context.Background(), "test", func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.ExecContext(ctx, "SET LOCAL ROLE "+role); err != nil {
			return err
		}
		return table.CaptureInstall(ctx, tx, people, []string{"name"})
	})
	wantErr(t, err, "lacks TRIGGER on public.people", "GRANT TRIGGER ON public.people")
	h.want("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'tandem%'", "0")
}

func TestCapturePostgresForeignTables(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.exec("CREATE FOREIGN DATA WRAPPER nothing", "CREATE SERVER s FOREIGN DATA WRAPPER nothing",
		"CREATE TABLE people (id int PRIMARY KEY, name text)", "CREATE FOREIGN TABLE far (id int NOT NULL, name text) SERVER s")
	table, err := h.introspect(Spec{Name: "far", Table: "far", Key: []string{"id"}})
	if err != nil {
		t.Fatal(err)
	}
	install := func(ctx context.Context, tx *store.Tx) error { return table.CaptureInstall(ctx, tx, "far", nil) }
	wantErr(t, h.db.Write(context.Background(), "test", install), "is a foreign table")
	h.exec("ALTER FOREIGN TABLE far INHERIT people")
	if table, err = h.introspect(Spec{Name: people, Table: "people"}); err != nil {
		t.Fatal(err)
	}
	wantErr(t, h.db.Write(context.Background(), "test", install), "every write through public.people would fail")
}

// A prepared transaction is captured when it commits: nothing that the trigger
// does keeps it from being prepared.
func TestCapturePostgresPrepared(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.exec("CREATE TABLE people (id int PRIMARY KEY, name text)")
	c := h.capture(people, "people", "name")
	db, err := sql.Open("postgres", h.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	gid := literal(h.rows("SELECT current_database()")[0])
	ctx := context.Background()
	_, err = db.ExecContext(ctx, "BEGIN; INSERT INTO people VALUES (1, 'a'); PREPARE TRANSACTION "+gid)
	if slices.Equal(h.rows("SHOW max_prepared_transactions"), []string{"0"}) {
		if store.SQLState(err) != "55000" {
			t.Errorf("%v, want a server that takes no prepared transaction", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	c.wantLogged()
	if _, err := db.ExecContext(ctx, "COMMIT PREPARED "+gid); err != nil {
		t.Fatal(err)
	}
	c.wantLogged("u 1")
}

// While writers are at work, mappings change: no write fails, none is missed.
func TestCapturePostgresConcurrently(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.exec("CREATE TABLE people (id int PRIMARY KEY, name text, mail text)")
	c := h.capture(people, "people", "name")
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	const writers, each = 4, 60
	errs := make([]error, writers)
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				errs[w] = errors.Join(errs[w], h.db.Write(ctx, "test", func(ctx context.Context, tx *store.Tx) error {
					_, err := tx.ExecContext(ctx, "INSERT INTO people VALUES ($1, 'a'); ", w*each+i)
					return err
				}))
			}
		})
	}
	for i := range 6 {
		c.cols = [][]string{{"name"}, {"name", "mail"}}[i%2]
		c.install()
	}
	wg.Wait()
	cancel()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	h.want("SELECT count(*), count(DISTINCT local_key) FROM tandem_change_log", fmt.Sprintf("%d|%d", writers*each, writers*each))
}

// Two that install at the same time do not meet.
func TestCapturePostgresInstallsAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.exec("CREATE TABLE people (id int PRIMARY KEY, name text)")
	table, err := h.introspect(Spec{Name: people, Table: "people"})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			errs[i] = h.db.Write(context.Background(), "test", func(ctx context.Context, tx *store.Tx) error {
				return table.CaptureInstall(ctx, tx, people, []string{"name"})
			})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	h.want("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'tandem%'", "4")
}
