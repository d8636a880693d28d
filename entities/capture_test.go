package entities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/store"
)

const people = "people"

// captured is a table whose changes are captured.
type captured struct {
	*harness
	t      *Table
	entity string
	cols   []string
}

// capture installs the triggers of an entity that watches the columns.
func (h *harness) capture(entity, table, cols string, opts ...func(*bindOpts)) *captured {
	h.Helper()
	o := bindOpts{spec: Spec{Name: entity, Table: table}}
	for _, f := range opts {
		f(&o)
	}
	t, err := h.introspect(o.spec)
	if err != nil {
		h.Fatal(err)
	}
	c := &captured{harness: h, t: t, entity: entity, cols: strings.Fields(cols)}
	c.install()
	return c
}

func (c *captured) install() {
	c.Helper()
	var err error
	if c.t, err = c.introspect(c.t.Spec); err != nil {
		c.Fatal(err)
	}
	c.write(func(ctx context.Context, tx *store.Tx) error { return c.t.CaptureInstall(ctx, tx, c.entity, c.cols) })
	if s := c.status(); !s.Complete() || len(s.SQL) > 0 {
		c.Fatalf("after installing: %+v", s)
	}
}

func (c *captured) status() CaptureState {
	c.Helper()
	var s CaptureState
	err := c.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) (err error) {
		// As it is now: a partition may have come.
		t, err := Introspect(ctx, tx, c.t.Spec)
		if err == nil {
			s, err = t.CaptureStatus(ctx, tx, c.entity, c.cols)
		}
		return err
	})
	if err != nil {
		c.Fatal(err)
	}
	return s
}

// logged takes the entity's changes out of the log, each as "op key fields" with
// @origin when there is one, in order of the key.
func (h *harness) logged(entity string) []string {
	h.Helper()
	out := h.rows("SELECT op || ' ' || local_key || COALESCE(' ' || fields, '') || CASE WHEN origin <> 0 THEN ' @' || origin ELSE '' END FROM tandem_change_log WHERE entity = " +
		literal(entity) + " ORDER BY local_key, seq")
	h.exec("DELETE FROM tandem_change_log")
	return out
}

func (c *captured) wantLogged(want ...string) {
	c.Helper()
	if got := c.logged(c.entity); !slices.Equal(got, want) {
		c.Errorf("logged\n got  %q\n want %q", got, want)
	}
}

// do runs statements in one transaction and checks what they logged.
func (c *captured) do(statements string, want ...string) {
	c.Helper()
	c.exec(statements)
	c.wantLogged(want...)
}

// linked ties a row to a remote record.
func linked(remote, key string) Change {
	n := int(remote[1] - '0')
	return Change{N: n, Op: OpLink, Key: key, NewLink: true, Link: link(n, remote)}
}

func TestCapture(t *testing.T) {
	both(t, func(_ *testing.T, h *harness) {
		h.exec("CREATE TABLE people (id integer PRIMARY KEY, name text, mail text, note text, gone text)")
		c := h.capture(people, "people", "name mail", withDeleted("gone"))
		c.wantLogged() // the first installation asks for nothing

		c.do("INSERT INTO people (id, name) VALUES (1, 'a'), (2, 'b')", "u 1", "u 2")
		c.do("UPDATE people SET name = 'x' WHERE id = 1", `u 1 ["name"]`)
		c.do("UPDATE people SET name = 'y', mail = 'm'", `u 1 ["mail","name"]`, `u 2 ["mail","name"]`)
		c.do("UPDATE people SET note = 'n'")              // not mapped
		c.do("UPDATE people SET name = name, note = 'o'") // nothing changed
		c.do("UPDATE people SET name = NULL WHERE id = 2", `u 2 ["name"]`)
		c.do("UPDATE people SET name = NULL WHERE id = 2") // null stays null
		c.do("UPDATE people SET gone = 'yes' WHERE id = 2", `u 2 ["gone"]`)
		c.do("UPDATE people SET name = 'z' WHERE id > 100") // no row
		c.do("UPDATE people SET id = 3 WHERE id = 2", "d 2", "u 3")
		c.do("UPDATE people SET id = id + 10, name = 'k'", "d 1", "u 11", "u 13", "d 3")
		c.do("INSERT INTO people (id, name) VALUES (11, 'n'), (20, 'n') ON CONFLICT (id) DO UPDATE SET name = excluded.name", `u 11 ["name"]`, "u 20")
		c.do("INSERT INTO people (id, name) VALUES (11, 'q') ON CONFLICT DO NOTHING")
		c.do("DELETE FROM people WHERE id = 20", "d 20")
		c.do("UPDATE people SET name = '1' WHERE id = 11; UPDATE people SET mail = '2' WHERE id = 11; DELETE FROM people WHERE id = 11",
			`u 11 ["name"]`, `u 11 ["mail"]`, "d 11")
		c.do("DELETE FROM people", "d 13")
	})
}

func TestCaptureRollsBack(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec("CREATE TABLE people (id integer PRIMARY KEY, name text)")
		c := h.capture(people, "people", "name")
		stop := errors.New("stop")
		err := h.db.Write(context.Background(), "test", func(ctx context.Context, tx *store.Tx) error {
			if _, err := tx.ExecContext(ctx, "INSERT INTO people VALUES (1, 'a')"); err != nil {
				return err
			}
			return stop
		})
		if !errors.Is(err, stop) {
			t.Fatal(err)
		}
		c.wantLogged()
		c.do("INSERT INTO people VALUES (2, 'a'); SAVEPOINT s; INSERT INTO people VALUES (3, 'a'); ROLLBACK TO SAVEPOINT s; INSERT INTO people VALUES (4, 'a')", "u 2", "u 4")
	})
}

// The time of a change and its number come from the database.
func TestCaptureNumbersAndDates(t *testing.T) {
	both(t, func(_ *testing.T, h *harness) {
		h.exec("CREATE TABLE people (id integer PRIMARY KEY, name text)")
		h.capture(people, "people", "name")
		h.exec("INSERT INTO people VALUES (1, 'a')", "UPDATE people SET name = 'b'")
		h.want("SELECT count(*), count(DISTINCT seq) FROM tandem_change_log", "2|2")
		h.want("SELECT count(*) FROM tandem_change_log WHERE at > "+h.pick("(unixepoch() - 600) * 1000000", "clock_timestamp() - interval '10 minutes'")+
			" AND at < "+h.pick("(unixepoch() + 600) * 1000000", "clock_timestamp() + interval '10 minutes'"), "2")
	})
}

func TestCaptureCascades(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec("CREATE TABLE firm (id integer PRIMARY KEY, name text)",
			"CREATE TABLE people (id integer PRIMARY KEY, firm integer REFERENCES firm (id) ON DELETE CASCADE ON UPDATE CASCADE)",
			"CREATE TABLE pets (id integer PRIMARY KEY, owner integer REFERENCES people (id) ON DELETE SET NULL)")
		firms, folks, pets := h.capture("firms", "firm", "name"), h.capture(people, "people", "firm"), h.capture("pets", "pets", "owner")
		h.exec("INSERT INTO firm VALUES (1, 'f')", "INSERT INTO people VALUES (1, 1), (2, 1)", "INSERT INTO pets VALUES (7, 2)", "DELETE FROM tandem_change_log")
		h.exec("UPDATE firm SET id = 5")
		h.want("SELECT entity || op || local_key || COALESCE(fields, '') FROM tandem_change_log ORDER BY 1", "firmsd1", "firmsu5", `peopleu1["firm"]`, `peopleu2["firm"]`)
		h.exec("DELETE FROM tandem_change_log", "DELETE FROM firm")
		h.want("SELECT entity || op || local_key || COALESCE(fields, '') FROM tandem_change_log ORDER BY 1", "firmsd5", "peopled1", "peopled2", `petsu7["owner"]`)
		for _, c := range []*captured{firms, folks, pets} {
			if s := c.status(); !s.Complete() {
				t.Errorf("%+v", s)
			}
		}
	})
}

func TestCaptureCompositeKey(t *testing.T) {
	both(t, func(_ *testing.T, h *harness) {
		h.exec(`CREATE TABLE "Odd ""name" ("a b" text, "'c" integer, v text, PRIMARY KEY ("a b", "'c"))`)
		c := h.capture("o-dd_1", `"Odd ""name"`, "v")
		tricky := `q"\/` + "\n\t<é>\u2028"
		key := EncodeKey([]string{tricky, "-3"})
		c.do(fmt.Sprintf(`INSERT INTO "Odd ""name" VALUES (%s, -3, 'v')`, literal(tricky)), "u "+key)
		c.do(`UPDATE "Odd ""name" SET v = 'w'`, "u "+key+` ["v"]`)
		c.do(`UPDATE "Odd ""name" SET "'c" = 4`, "d "+key, "u "+EncodeKey([]string{tricky, "4"}))
		c.do(`DELETE FROM "Odd ""name"`, "d "+EncodeKey([]string{tricky, "4"}))
	})
}

// A row without a whole key cannot be told apart; giving it one makes it new.
func TestCaptureNullKey(t *testing.T) {
	both(t, func(_ *testing.T, h *harness) {
		h.exec("CREATE TABLE people (n text UNIQUE, v text)")
		c := h.capture(people, "people", "v", withKey("n"))
		c.do("INSERT INTO people VALUES (NULL, 'a'), (NULL, 'b'), ('k', 'c')", "u k")
		c.do("UPDATE people SET v = 'd'", `u k ["v"]`)
		c.do("UPDATE people SET n = 'l' WHERE n = 'k'", "d k", "u l")
		c.do("UPDATE people SET n = NULL", "d l")
		c.do("DELETE FROM people")
	})
}

func TestCaptureFollowsTheMapping(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec("CREATE TABLE people (id integer PRIMARY KEY, name text, mail text)")
		c := h.capture(people, "people", "name")
		h.exec("INSERT INTO people VALUES (1, 'a', 'b')", "DELETE FROM tandem_change_log")
		c.do("UPDATE people SET mail = 'c'")
		c.cols = []string{"mail", "name"}
		s := c.status()
		if !s.Installed || s.Complete() || len(s.Drift) != 1 || !strings.Contains(s.Drift[0], "another mapping") {
			t.Errorf("%+v", s)
		}
		c.install()
		c.do("UPDATE people SET mail = 'd'", `u 1 ["mail"]`)
		c.cols = []string{"name", "mail", "name"} // the same set
		if s := c.status(); !s.Complete() || len(s.SQL) > 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestCaptureRepairs(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec("CREATE TABLE people (id integer PRIMARY KEY, name text)")
		c := h.capture(people, "people", "name")
		h.exec(h.pick(`DROP TRIGGER "tandem_capture_people_u"`, `DROP TRIGGER "tandem_capture_people_u" ON people`))
		s := c.status()
		if !s.Installed || len(s.Drift) != 1 || !strings.Contains(s.Drift[0], "UPDATE of") {
			t.Errorf("%+v", s)
		}
		c.install()
		c.wantLogged("r ") // what happened meanwhile is not known
		c.do("INSERT INTO people VALUES (1, 'a'); UPDATE people SET name = 'b'", "u 1", `u 1 ["name"]`)
	})
}

func TestCaptureRemove(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec("CREATE TABLE people (id integer PRIMARY KEY, name text)")
		c := h.capture(people, "people", "name")
		other := h.capture("others", "people", "name")
		h.write(func(ctx context.Context, tx *store.Tx) error { return c.t.CaptureRemove(ctx, tx, people) })
		if s := c.status(); s.Installed || len(s.Drift) > 0 {
			t.Errorf("%+v", s)
		}
		h.exec("INSERT INTO people VALUES (1, 'a')")
		h.want("SELECT entity FROM tandem_change_log", "others")
		h.write(func(ctx context.Context, tx *store.Tx) error {
			removed, err := CaptureRemove(ctx, tx, people)
			if removed || err != nil {
				t.Errorf("removed again: %v %v", removed, err)
			}
			return nil
		})
		if s := other.status(); !s.Complete() {
			t.Errorf("%+v", s)
		}
		h.exec("DROP TABLE people")
		h.write(func(ctx context.Context, tx *store.Tx) error {
			_, err := CaptureRemove(ctx, tx, "others")
			return err
		})
		h.want(h.pick("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'", "SELECT count(*) FROM pg_proc WHERE proname LIKE 'tandem%'"), "0")
	})
}

func TestCaptureLongName(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec("CREATE TABLE people (id integer PRIMARY KEY, name text)")
		a, b := strings.Repeat("x", 62)+"a", strings.Repeat("x", 62)+"b"
		one, two := h.capture(a, "people", "name"), h.capture(b, "people", "name")
		h.exec("INSERT INTO people VALUES (1, 'a')")
		h.want("SELECT entity FROM tandem_change_log ORDER BY 1", a, b)
		if !one.status().Complete() || !two.status().Complete() {
			t.Errorf("%+v %+v", one.status(), two.status())
		}
	})
}

func TestCaptureRefusesViews(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec("CREATE TABLE people (id integer PRIMARY KEY, name text)", "CREATE VIEW v AS SELECT * FROM people")
		table, err := h.introspect(Spec{Name: "v", Table: "v", Key: []string{"id"}})
		if err != nil {
			t.Fatal(err)
		}
		err = h.db.Write(context.Background(), "test", func(ctx context.Context, tx *store.Tx) error { return table.CaptureInstall(ctx, tx, "v", nil) })
		wantErr(t, err, "cannot be captured")
	})
}

// What we write ourselves says so, and nobody else's change does.
func TestCaptureOrigin(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec("CREATE TABLE people (id "+h.pick("integer", "serial")+" PRIMARY KEY, name text)", "CREATE TABLE pets (id integer PRIMARY KEY, name text)",
			"INSERT INTO people (name) VALUES ('a'), ('a')")
		c, pets := h.capture(people, "people", "name"), h.capture("pets", "pets", "name")
		b := h.bind("people", "name")
		w := h.writer(b)
		h.apply(w, []Change{linked("r1", "1"), linked("r2", "2")}, nil)
		c.wantLogged() // a link is no change of the row
		rows := h.load(b, "1", "2")
		wantOutcomes(t, h.apply(w, []Change{
			update(0, "r1", rows[0], txt("b")...), remove(1, "r2", rows[1]), insert(2, "r3", txt("new")...),
		}, nil), "done done done")
		c.wantLogged(`u 1 ["name"] @7`, "d 2 @7", "u 3 @7")
		c.do("UPDATE people SET name = 'mine'", `u 1 ["name"]`, `u 3 ["name"]`)
		pets.do("INSERT INTO pets VALUES (1, 'p')", "u 1")
	})
}

// A change that a trigger of the user's makes to another row is not ours, though
// it happens in our transaction.
func TestCaptureOriginOfTriggers(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec("CREATE TABLE people (id integer PRIMARY KEY, name text)", "INSERT INTO people VALUES (1, 'a'), (2, 'a')")
		h.exec(h.pick("CREATE TRIGGER x AFTER UPDATE ON people WHEN NEW.id = 1 BEGIN UPDATE people SET name = 'side' WHERE id = 2; END",
			`CREATE FUNCTION x() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE people SET name = ''side'' WHERE id = 2; RETURN NULL; END';
			CREATE TRIGGER x AFTER UPDATE ON people FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION x()`))
		c := h.capture(people, "people", "name")
		b := h.bind("people", "name")
		rows := h.load(b, "1")
		w := h.writer(b)
		h.apply(w, []Change{linked("r1", "1")}, nil)
		wantOutcomes(t, h.apply(w, []Change{update(0, "r1", rows[0], txt("b")...)}, nil), "done")
		if h.pg {
			c.wantLogged(`u 1 ["name"] @7`, `u 2 ["name"]`)
		} else {
			c.wantLogged(`u 1 ["name"]`, `u 2 ["name"]`) // never taken for ours
		}
	})
}

// What a foreign key does to another row of the table is no change of ours.
func TestCaptureOriginOfCascades(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec("CREATE TABLE people (id integer PRIMARY KEY, name text, boss integer REFERENCES people (id) ON DELETE SET NULL)",
			"INSERT INTO people VALUES (1, 'a', NULL), (2, 'b', 1)")
		c := h.capture(people, "people", "name boss")
		b := h.bind("people", "name boss")
		w := h.writer(b)
		h.apply(w, []Change{linked("r1", "1")}, nil)
		wantOutcomes(t, h.apply(w, []Change{remove(0, "r1", h.load(b, "1")[0])}, nil), "done")
		c.wantLogged("d 1", `u 2 ["boss"]`)
	})
}

// A batch with a bad record is repeated in parts and says the origin all along.
func TestCaptureOriginAfterRefusal(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec("CREATE TABLE people (id " + h.pick("integer", "serial") + " PRIMARY KEY, name text CHECK (name <> 'bad'))")
		c := h.capture(people, "people", "name")
		b := h.bind("people", "name")
		wantOutcomes(t, h.apply(h.writer(b), []Change{
			insert(0, "r1", txt("a")...), insert(1, "r2", txt("bad")...), insert(2, "r3", txt("c")...),
		}, nil), "done refused done")
		for _, l := range c.logged(people) {
			if !strings.HasSuffix(l, " @7") {
				t.Errorf("%q is not ours", l)
			}
		}
		h.want(h.pick("SELECT connector FROM tandem_origin", "SELECT 0"), "0")
	})
}
