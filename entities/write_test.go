package entities

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/lib/pq"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

const peopleDDL = "email %s UNIQUE, name %s, age integer CHECK (age < 200), note text DEFAULT 'kept', untouched text DEFAULT 'u'"

// people makes the usual table.
func (h *harness) people() {
	h.Helper()
	h.exec("CREATE TABLE people (" + h.pick("id INTEGER PRIMARY KEY, "+fmt.Sprintf(peopleDDL, "TEXT", "TEXT NOT NULL"),
		"id bigserial PRIMARY KEY, "+fmt.Sprintf(peopleDDL, "varchar(40)", "text NOT NULL")) + ")")
}

func person(email, name string, age record.Value) []record.Value {
	return []record.Value{record.T(email), record.T(name), age}
}

func TestConcurrentEditIsMissed(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.people()
		b := h.bind("people", "email name age")
		w := h.writer(b)
		res := h.apply(w, []Change{
			insert(0, "a", person("a@x", "A", record.N("1"))...), insert(1, "b", person("b@x", "B", record.NullValue)...),
			insert(2, "c", person("c@x", "C", record.N("3"))...), insert(3, "d", person("d@x", "D", record.N("4"))...),
		}, nil)
		rows := h.load(b, res[0].Key, res[1].Key, res[2].Key, res[3].Key)
		h.exec("UPDATE people SET name = 'edited' WHERE email = 'a@x'", "UPDATE people SET age = 2 WHERE email = 'b@x'",
			"DELETE FROM people WHERE email = 'c@x'", "UPDATE people SET note = 'also edited' WHERE email = 'd@x'")
		changes := []Change{
			update(0, "a", rows[0], person("new@x", "A", record.N("1"))...), remove(1, "b", rows[1]),
			update(2, "c", rows[2], person("c@x", "C2", record.N("3"))...), update(3, "d", rows[3], person("d@x", "D2", record.NullValue)...),
		}
		for i := range changes {
			changes[i].Link.Base = "[1]"
		}
		wantOutcomes(t, h.apply(w, changes, nil), "missed missed missed done")
		h.want("SELECT email, name, age, note FROM people ORDER BY email", "a@x|edited|1|kept", "b@x|B|2|kept", "d@x|D2|NULL|also edited")
		h.want("SELECT remote_id, base, state FROM tandem_link ORDER BY 1", "a|[]|0", "b|[]|0", "c|[]|0", "d|[1]|0")
	})
}

func TestOneBadRecordInTwoThousand(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.people()
		w := h.writer(h.bind("people", "email name age"))
		const n, bad = 2000, 1234
		changes := make([]Change, n)
		for i := range changes {
			changes[i] = insert(i, "r"+strconv.Itoa(i), person(strconv.Itoa(i)+"@x", "n", record.N(strconv.Itoa(i%100)))...)
		}
		changes[bad].New[2] = record.N("201")
		res := h.apply(w, changes, nil)
		for i, r := range res {
			if (r.Outcome == Refused) != (i == bad) || (r.Outcome == Done) != (i != bad) {
				t.Fatalf("record %d: %s %v", i, r.Outcome, r.Err)
			}
		}
		wantErr(t, res[bad].Err, h.pick("CHECK", "age"), h.pick("275", "23514"))
		if fault.Of(res[bad].Err) != fault.Permanent || fault.CodeOf(res[bad].Err) != fault.CodeBadRecord {
			t.Errorf("class %v, code %q", fault.Of(res[bad].Err), fault.CodeOf(res[bad].Err))
		}
		h.want("SELECT count(*), min(age), max(age) FROM people", "1999|0|99")
		h.want("SELECT count(*) FROM tandem_link", "1999")
		h.want("SELECT count(*) FROM tandem_link JOIN people ON local_key = "+"CAST(people.id AS "+h.pick("TEXT", "text")+")"+" AND email = substr(remote_id, 2) || '@x'", "1999")
	})
}

func TestRefusedSaysWhy(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.people()
		h.exec("CREATE TABLE orders (id INTEGER PRIMARY KEY, person bigint REFERENCES people (id), day date, total numeric(6,2), ok boolean)")
		if h.pg {
			h.exec("DROP TABLE orders", "CREATE TABLE orders (id int PRIMARY KEY, person bigint REFERENCES people (id), day date, total numeric(6,2), ok boolean)")
		}
		w := h.writer(h.bind("people", "email name age"))
		long := strings.Repeat("secret", 20) + "@x"
		res := h.apply(w, []Change{
			insert(0, "a", person("a@x", "A", record.NullValue)...),
			insert(1, "b", record.T("b@x"), record.NullValue, record.NullValue),
			insert(2, "c", person(long, "C", record.NullValue)...), insert(3, "d", person("d@x", "D\x00", record.NullValue)...),
			insert(4, "e", person("e@x", "E\xff", record.NullValue)...), insert(5, "f", person("f@x", "F", record.NullValue)...),
		}, nil)
		wantOutcomes(t, res, h.pick("done refused done refused refused done", "done refused refused refused refused done"))
		wantErr(t, res[1].Err, "column name: ", h.pick("NOT NULL", "23502"))
		wantErr(t, res[3].Err, "column name: ", "NUL")
		wantErr(t, res[4].Err, "column name: ", "UTF-8")
		if h.pg {
			wantErr(t, res[2].Err, "column email: ", "22001")
			var pe *pq.Error
			if !errors.As(res[2].Err, &pe) {
				t.Error("the cause is lost")
			}
			if strings.Contains(res[2].Err.Error(), "secret") {
				t.Errorf("the message dumps the row: %v", res[2].Err)
			}
		}
		if fault.WhereOf(res[1].Err) != "name" {
			t.Errorf("where %q", fault.WhereOf(res[1].Err))
		}
		h.exec("DELETE FROM tandem_link")
		w = h.writer(h.bind("orders", "id person day total"))
		order := func(n int, person, day, total string) Change {
			return insert(n, "o"+strconv.Itoa(n), record.N(strconv.Itoa(n)), record.N(person), record.T(day), record.N(total))
		}
		res = h.apply(w, []Change{order(1, res[0].Key, "2026-01-02", "1.5"), order(2, "99", "2026-01-02", "1"), order(3, res[0].Key, "2026-02-31", "1"), order(4, res[0].Key, "2026-01-02", "123456")}, nil)
		wantOutcomes(t, res, h.pick("done refused done done", "done refused refused refused"))
		wantErr(t, res[1].Err, h.pick("FOREIGN KEY", "column person: "), h.pick("787", "orders_person_fkey"))
		if h.pg {
			wantErr(t, res[2].Err, "column day: ", "22008")
			wantErr(t, res[3].Err, "column total: ", "22003")
		}
		h.want("SELECT count(*) FROM orders", h.pick("3", "1"))
	})
}

func TestUpdateRefusedKeepsTheRow(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.people()
		b := h.bind("people", "email name age")
		w := h.writer(b)
		res := h.apply(w, []Change{insert(0, "a", person("a@x", "A", record.N("1"))...), insert(1, "b", person("b@x", "B", record.N("2"))...), insert(2, "c", person("c@x", "C", record.N("3"))...)}, nil)
		rows := h.load(b, res[0].Key, res[1].Key, res[2].Key)
		res = h.apply(w, []Change{
			update(0, "a", rows[0], person("a@x", "A", record.N("500"))...), update(1, "b", rows[1], person("c@x", "B", record.N("2"))...),
			update(2, "c", rows[2], person("c@x", "C2", record.N("3"))...),
		}, nil)
		wantOutcomes(t, res, "refused refused done")
		wantErr(t, res[0].Err, h.pick("CHECK", "column age"))
		wantErr(t, res[1].Err, "email", h.pick("UNIQUE", "people_email_key"))
		h.want("SELECT email, name, age FROM people ORDER BY id", "a@x|A|1", "b@x|B|2", "c@x|C2|3")
	})
}

func TestCollisionsAreNamed(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.people()
		h.exec("CREATE UNIQUE INDEX people_lower_name ON people (lower(name)) WHERE name <> 'x'", "INSERT INTO people (email, name) VALUES ('old@x', 'Old')")
		w := h.writer(h.bind("people", "email name age"))
		res := h.apply(w, []Change{
			insert(0, "a", person("a@x", "A", record.NullValue)...), insert(1, "b", person("old@x", "B", record.NullValue)...),
			insert(2, "c", person("a@x", "C", record.NullValue)...), insert(3, "d", person("d@x", "OLD", record.NullValue)...),
		}, nil)
		wantOutcomes(t, res, "done collided collided collided")
		wantErr(t, res[1].Err, "email")
		wantErr(t, res[2].Err, "email")
		wantErr(t, res[3].Err, "people_lower_name")
		h.want("SELECT email, name, note FROM people ORDER BY email", "a@x|A|kept", "old@x|Old|kept")
		h.want("SELECT remote_id FROM tandem_link", "a")
	})
}

func TestLinkCollisionTakesTheRowBack(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.people()
		b := h.bind("people", "email name age")
		w := h.writer(b)
		res := h.apply(w, []Change{insert(0, "a", person("a@x", "A", record.NullValue)...)}, nil)
		c := Change{N: 4, Op: OpLink, Key: res[0].Key, NewLink: true, Link: link(4, "other")}
		got := h.apply(w, []Change{c, insert(5, "b", person("b@x", "B", record.NullValue)...)}, nil)
		wantOutcomes(t, got, "collided done")
		if got := h.links(); len(got) != 2 {
			t.Errorf("links %q", got)
		}
	})
}

func TestAbsentAndDefaults(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.people()
		b := h.bind("people", "email name age note", withSet("untouched"))
		w := h.writer(b)
		var absent record.Value
		ins := func(n int, vals ...record.Value) Change {
			c := insert(n, "r"+strconv.Itoa(n), vals...)
			c.Set = []record.Value{record.T("set")}
			return c
		}
		calls := 0
		res := h.apply(w, []Change{ins(0, record.T("a@x"), record.T("A"), absent, absent), ins(1, record.T("b@x"), record.T("B"), record.N("2"), record.NullValue)},
			func(c *Change, stored []record.Value) {
				calls++
				c.Link.Base = "note:" + stored[3].Text
			})
		wantOutcomes(t, res, "done done")
		if calls != 1 || res[0].Stored == nil || res[0].Stored[3] != record.T("kept") || res[1].Stored != nil {
			t.Errorf("%d rebases, stored %v and %v", calls, res[0].Stored, res[1].Stored)
		}
		h.want("SELECT email, age, note, untouched FROM people ORDER BY id", "a@x|NULL|kept|set", "b@x|2|NULL|set")
		h.want("SELECT remote_id, base FROM tandem_link ORDER BY 1", "r0|note:kept", "r1|[]")
		rows := h.load(b, res[0].Key, res[1].Key)
		res = h.apply(w, []Change{update(0, "r0", rows[0], absent, record.T("A2"), absent, absent), update(1, "r1", rows[1], absent, absent, record.NullValue, record.T("n"))}, nil)
		wantOutcomes(t, res, "done done")
		h.want("SELECT email, name, age, note, untouched FROM people ORDER BY id", "a@x|A2|NULL|kept|set", "b@x|B|NULL|n|set")
	})
}

func TestStrangeTexts(t *testing.T) {
	texts := []string{"", " ", "\t", "a\tb\nc\r\n", `\N`, `\.`, `\\`, "\x01", "\x02", "x\x01y\x02\x03", "é😀\u2028", `"quoted", 'single'`, "NULL", strings.Repeat("long", 5000)}
	both(t, func(t *testing.T, h *harness) {
		h.exec("CREATE TABLE odd (" + h.pick("id INTEGER PRIMARY KEY, a text, b text", "id bigserial PRIMARY KEY, a text, b text") + ")")
		b := h.bind("odd", "a b")
		w := h.writer(b)
		for _, part := range [][]string{texts, texts[:7]} {
			var changes []Change
			for i, s := range part {
				changes = append(changes, insert(i, fmt.Sprintf("%d-%d%s", len(part), i, s), record.T(s), record.NullValue))
			}
			var keys []string
			for _, r := range h.apply(w, changes, nil) {
				if r.Outcome != Done || r.Stored != nil {
					t.Fatalf("%d: %s %v stored %v", r.N, r.Outcome, r.Err, r.Stored)
				}
				keys = append(keys, r.Key)
			}
			rows := h.load(b, keys...)
			changes = changes[:0]
			for i, s := range part {
				if rows[i].Values[0] != record.T(s) || rows[i].Values[1] != record.NullValue {
					t.Errorf("wrote %q, read %q", s, rows[i].Values)
				}
				changes = append(changes, update(i, fmt.Sprintf("%d-%d%s", len(part), i, s), rows[i], record.T(s+"!"), record.T(s)))
			}
			for _, r := range h.apply(w, changes, nil) {
				if r.Outcome != Done {
					t.Errorf("update %d: %s %v", r.N, r.Outcome, r.Err)
				}
			}
			for i, row := range h.load(b, keys...) {
				if row.Values[0] != record.T(part[i]+"!") || row.Values[1] != record.T(part[i]) {
					t.Errorf("updated to %q, read %q", part[i], row.Values)
				}
			}
		}
	})
}

func TestTriggerThatChangesValues(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.people()
		if h.pg {
			h.exec(`CREATE FUNCTION low() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.email := lower(NEW.email); IF NEW.name = ''swallow'' THEN RETURN NULL; END IF; IF NEW.name = ''raise'' THEN RAISE EXCEPTION ''not this one''; END IF; RETURN NEW; END'`,
				"CREATE TRIGGER low BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION low()")
		} else {
			h.exec("CREATE TRIGGER low AFTER INSERT ON people BEGIN UPDATE people SET email = lower(NEW.email) WHERE id = NEW.id; END",
				"CREATE TRIGGER low2 AFTER UPDATE OF email ON people WHEN NEW.email <> lower(NEW.email) BEGIN UPDATE people SET email = lower(NEW.email) WHERE id = NEW.id; END",
				"CREATE TRIGGER raise BEFORE INSERT ON people BEGIN SELECT CASE NEW.name WHEN 'raise' THEN RAISE(ABORT, 'not this one') WHEN 'swallow' THEN RAISE(IGNORE) END; END")
		}
		b := h.bind("people", "email name age")
		w := h.writer(b)
		rebase := func(c *Change, stored []record.Value) {
			c.Link.Base, c.Link.Hash = stored[0].Text, 99
		}
		res := h.apply(w, []Change{
			insert(0, "a", person("A@X", "A", record.NullValue)...), insert(1, "b", person("b@x", "B", record.NullValue)...),
			insert(2, "c", person("c@x", "swallow", record.NullValue)...), insert(3, "d", person("d@x", "raise", record.NullValue)...),
		}, rebase)
		wantOutcomes(t, res, "done done refused refused")
		wantErr(t, res[2].Err, "trigger")
		wantErr(t, res[3].Err, "not this one")
		if res[0].Stored == nil || res[0].Stored[0] != record.T("a@x") || res[1].Stored != nil {
			t.Errorf("stored %v and %v", res[0].Stored, res[1].Stored)
		}
		h.want("SELECT remote_id, base, hash FROM tandem_link ORDER BY 1", "a|a@x|99", "b|[]|1")
		rows := h.load(b, res[0].Key, res[1].Key)
		res = h.apply(w, []Change{update(0, "a", rows[0], person("NEW@X", "A", record.NullValue)...), update(1, "b", rows[1], person("b@x", "B2", record.NullValue)...)}, rebase)
		wantOutcomes(t, res, "done done")
		h.want("SELECT email, name FROM people ORDER BY id", "new@x|A", "b@x|B2")
		h.want("SELECT remote_id, base, hash FROM tandem_link ORDER BY 1", "a|new@x|99", "b|[]|1")
	})
}

func TestParentInTheOtherHalf(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec("CREATE TABLE tree (id integer PRIMARY KEY, parent integer REFERENCES tree (id), name text NOT NULL)")
		w := h.writer(h.bind("tree", "id parent name"))
		node := func(id, parent int, name record.Value) Change {
			p := record.NullValue
			if parent > 0 {
				p = record.N(strconv.Itoa(parent))
			}
			return insert(id, "t"+strconv.Itoa(id), record.N(strconv.Itoa(id)), p, name)
		}
		n := record.T("n")
		res := h.apply(w, []Change{node(1, 6, n), node(2, 1, n), node(3, 99, n), node(4, 0, record.NullValue), node(5, 3, n), node(6, 0, n)}, nil)
		wantOutcomes(t, res, "done done refused refused refused done")
		h.want("SELECT id FROM tree ORDER BY id", "1", "2", "6")
	})
}

func TestDeletedColumn(t *testing.T) {
	for _, typ := range []string{"timestamp", "timestamptz", "date", "boolean", "integer", "text"} {
		t.Run(typ, func(t *testing.T) {
			both(t, func(t *testing.T, h *harness) {
				h.exec("CREATE TABLE soft (" + h.pick("id INTEGER PRIMARY KEY", "id serial PRIMARY KEY") + ", name text, gone " + typ + ")")
				b := h.bind("soft", "name", withDeleted("gone"))
				w := h.writer(b)
				res := h.apply(w, []Change{insert(0, "a", txt("A")...), insert(1, "b", txt("B")...)}, nil)
				rows := h.load(b, res[0].Key, res[1].Key)
				wantOutcomes(t, h.apply(w, []Change{remove(0, "a", rows[0])}, nil), "done")
				rows = h.load(b, res[0].Key, res[1].Key)
				if len(rows) != 2 || !rows[0].Deleted || rows[1].Deleted {
					t.Errorf("rows %v", rows)
				}
				h.want("SELECT count(*) FROM soft WHERE gone IS NOT NULL", "1")
			})
		})
	}
}

func TestApplyGivesUpOnlyWhenItMust(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.people()
		b := h.bind("people", "email name age")
		w := h.writer(b)
		ctx := context.Background()
		err := h.sess.Write(ctx, "t", func(ctx context.Context, tx *store.Tx) error {
			_, err := w.Apply(ctx, tx, []Change{{Op: OpInsert}}, nil)
			return err
		})
		wantErr(t, err, "value per field")
		h.exec("ALTER TABLE people DROP COLUMN age")
		err = h.sess.Write(ctx, "t", func(ctx context.Context, tx *store.Tx) error {
			_, err := w.Apply(ctx, tx, []Change{insert(0, "a", person("a@x", "A", record.NullValue)...)}, nil)
			return err
		})
		wantErr(t, err, "age")
		h.want("SELECT count(*) FROM people", "0")
		// The writer of a new binding goes on with the same session.
		w = h.writer(h.bind("people", "email name"))
		wantOutcomes(t, h.apply(w, []Change{insert(0, "a", txt("a@x", "A")...)}, nil), "done")
		if res := h.apply(w, nil, nil); len(res) != 0 {
			t.Errorf("results %v of nothing", res)
		}
	})
}

func TestManySetsOfColumns(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		cols := "a b c d e f g"
		h.exec("CREATE TABLE wide (" + h.pick("id INTEGER PRIMARY KEY", "id serial PRIMARY KEY") + ", a text, b text, c text, d text, e text, f text, g text)")
		b := h.bind("wide", cols)
		w := h.writer(b)
		res := h.apply(w, []Change{insert(0, "r", txt("0", "0", "0", "0", "0", "0", "0")...)}, nil)
		ctx := context.Background()
		err := h.sess.Write(ctx, "many batches in one transaction", func(ctx context.Context, tx *store.Tx) error {
			for m := 1; m < 128; m++ {
				rows, err := b.Load(ctx, tx, []string{res[0].Key})
				if err != nil {
					return err
				}
				vals := make([]record.Value, 7)
				for i := range vals {
					if m>>i&1 == 1 {
						vals[i] = record.T(strconv.Itoa(m))
					}
				}
				got, err := w.Apply(ctx, tx, []Change{update(0, "r", rows[0], vals...)}, nil)
				if err != nil || got[0].Outcome != Done {
					return fmt.Errorf("set %d: %v %w", m, got, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		h.want("SELECT a, b, g FROM wide", "127|127|127")
	})
}
