package entities

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// typedValues has for columns of many types a canonical value, what CanonLocal
// must give back for what is stored, and the raw text.
var typedValues = []struct {
	typ                string
	in                 record.Value
	stored, raw        string
	differs            bool
	second, secondText string
}{
	{typ: "int", in: record.N("12"), raw: "12", second: "-7"},
	{typ: "numeric(6,2)", in: record.N("1.5"), raw: "1.50", second: "2"},
	{typ: "numeric(6,1)", in: record.N("1.25"), raw: "1.3", differs: true, second: "2.04"},
	{typ: "numeric", in: record.N("123456789012345678901234567890.123"), raw: "123456789012345678901234567890.123", second: "0"},
	{typ: "real", in: record.N("0.123456789"), raw: "0.12345679", differs: true, second: "1.5"},
	{typ: "double precision", in: record.N("0.1"), raw: "0.1", second: "2.5"},
	{typ: "boolean", in: record.B(true), raw: "true", second: "false"},
	{typ: "date", in: record.T("2026-02-03"), raw: "2026-02-03", second: "2000-01-01"},
	{typ: "time", in: record.T("10:11:12"), raw: "10:11:12", second: "00:00:00"},
	{typ: "timestamp", in: record.T("2026-02-03T10:11:12.5Z"), raw: "2026-02-03 10:11:12.5", second: "2000-01-01T00:00:00Z"},
	{typ: "timestamptz", in: record.T("2026-02-03T10:11:12Z"), raw: "2026-02-03 10:11:12+00", second: "2000-01-01T00:00:00Z"},
	{typ: "timestamptz(0)", in: record.T("2026-02-03T10:11:12.6Z"), raw: "2026-02-03 10:11:13+00", differs: true, second: "2000-01-01T00:00:00Z"},
	{typ: "mood", in: record.T("ok"), raw: "ok", second: "bad"},
	{typ: "char(5)", in: record.T("ab"), raw: "ab", second: "abcde"},
	{typ: "char(6)", in: record.T("ab "), raw: "ab", differs: true, second: "c"},
	{typ: "varchar(3)", in: record.T("äöü"), raw: "äöü", second: ""},
	{typ: "name_type", in: record.T("Ann"), raw: "Ann", second: "Bob"},
	{typ: "uuid", in: record.T("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"), raw: "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", differs: true, second: "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12"},
	{typ: "json", in: record.J(`{"a":1.0}`), raw: `{"a":1.0}`, second: `[1]`},
	{typ: "jsonb", in: record.J(`{"a":[1,"e1\""],"b":2}`), raw: `{"a": [1, "e1\""], "b": 2}`, second: `{"c":{}}`},
	{typ: "numeric[]", in: record.J(`[1.50,2]`), raw: `[1.50,2]`, second: `[]`},
	{typ: "text[]", in: record.J(`["a","b,c","\"q\\","",null,"NULL","{}"]`), raw: `["a","b,c","\"q\\","",null,"NULL","{}"]`, second: `["x"]`},
	{typ: "int[]", in: record.J(`[[1,2],[3,4]]`), raw: `[[1,2],[3,4]]`, second: `[5]`},
}

func TestTypesPostgres(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.exec("CREATE TYPE mood AS ENUM ('ok', 'bad')", "CREATE DOMAIN name_type AS varchar(10) CHECK (VALUE <> 'x')")
	for _, c := range typedValues {
		h.exec("DROP TABLE IF EXISTS typed", "DELETE FROM tandem_link", "CREATE TABLE typed (id serial PRIMARY KEY, v "+c.typ+", n text)")
		b := h.bind("typed", "v n")
		w := h.writer(b)
		res := h.apply(w, []Change{insert(0, "a", c.in, record.T("n")), insert(1, "b", record.NullValue, record.T("n"))}, nil)
		wantOutcomes(t, res, "done done")
		if (res[0].Stored != nil) != c.differs {
			t.Errorf("%s: stored %v, want a difference: %v", c.typ, res[0].Stored, c.differs)
		}
		rows := h.load(b, res[0].Key, res[1].Key)
		if rows[0].Values[0].Text != c.raw || rows[1].Values[0] != record.NullValue {
			t.Errorf("%s: raw %q, want %q", c.typ, rows[0].Values, c.raw)
		}
		second := record.Value{Kind: c.in.Kind, Text: c.second}
		res = h.apply(w, []Change{update(0, "a", rows[0], second, record.T("2")), update(1, "b", rows[1], c.in, record.Value{})}, nil)
		if outcomes(res) != "done done" {
			t.Errorf("%s: update %s %v %v", c.typ, outcomes(res), res[0].Err, res[1].Err)
			continue
		}
		rows = h.load(b, res[0].Key, res[1].Key)
		canon := make([]record.Value, 2)
		if err := b.m.CanonLocal(rows[0].Values, canon); err != nil || c.typ != "numeric(6,1)" && c.typ != "char(6)" && canon[0] != second {
			t.Errorf("%s: after update %v, want %v", c.typ, canon[0], second)
		}
		if rows[1].Values[0].Text != c.raw || rows[1].Values[1].Text != "n" {
			t.Errorf("%s: second row %q", c.typ, rows[1].Values)
		}
		wantOutcomes(t, h.apply(w, []Change{remove(0, "a", rows[0])}, nil), "done")
	}
}

func TestBadValueIsNamedPostgres(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.exec("CREATE DOMAIN adult AS int CHECK (VALUE >= 18)", "CREATE TABLE typed (id serial PRIMARY KEY, a int, b adult, c date)")
	w := h.writer(h.bind("typed", "a b c"))
	res := h.apply(w, []Change{
		insert(0, "a", record.N("1"), record.N("18"), record.T("2026-01-01")), insert(1, "b", record.N("x"), record.N("18"), record.NullValue),
		insert(2, "c", record.N("1"), record.N("17"), record.NullValue), insert(3, "d", record.N("99999999999"), record.N("18"), record.NullValue),
	}, nil)
	wantOutcomes(t, res, "done refused refused refused")
	wantErr(t, res[1].Err, "column a: ", "22P02")
	wantErr(t, res[2].Err, "column b: ", "adult_check", "23514")
	wantErr(t, res[3].Err, "column a: ", "22003")
	h.want("SELECT remote_id FROM tandem_link", "a")
}

// TestOwnCodesPostgres: what a trigger raises under its own code, or a policy
// forbids, is about the one record.
func TestOwnCodesPostgres(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.people()
	h.exec(`CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.name LIKE ''code%'' THEN RAISE EXCEPTION ''no %'', NEW.age USING ERRCODE = substr(NEW.name, 5); END IF; RETURN NEW; END'`,
		"CREATE TRIGGER own BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION own()")
	w := h.writer(h.bind("people", "email name age"))
	ins := []Change{
		insert(0, "a", person("a@x", "A", record.N("1"))...), insert(1, "b", person("b@x", "codeU0001", record.N("2"))...), insert(2, "c", person("c@x", "code45000", record.N("3"))...),
		insert(3, "d", person("d@x", "codeP0002", record.N("4"))...), insert(4, "e", person("e@x", "E", record.N("5"))...),
	}
	res := h.apply(w, ins, nil)
	wantOutcomes(t, res, "done refused refused refused done")
	wantErr(t, res[1].Err, "no 2", "U0001")
	err := h.sess.Write(context.Background(), "t", func(ctx context.Context, tx *store.Tx) error {
		_, err := w.Apply(ctx, tx, []Change{insert(0, "f", person("f@x", "code40P01", record.N("2"))...)}, nil)
		return err
	})
	if fault.Of(err) != fault.Retryable {
		t.Errorf("a deadlock: %v", err)
	}
}

func TestDeferrableUniquePostgres(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.exec("CREATE TABLE late (id serial PRIMARY KEY, code text UNIQUE DEFERRABLE INITIALLY DEFERRED, parent int REFERENCES late (id) DEFERRABLE INITIALLY DEFERRED)", "INSERT INTO late (code) VALUES ('old')")
	w := h.writer(h.bind("late", "code parent"))
	res := h.apply(w, []Change{
		insert(0, "a", record.T("x"), record.NullValue), insert(1, "b", record.T("old"), record.NullValue), insert(2, "c", record.T("x"), record.NullValue),
		insert(3, "d", record.T("y"), record.N("999")), insert(4, "e", record.T("z"), record.N("1")),
	}, nil)
	wantOutcomes(t, res, "done collided collided refused done")
	wantErr(t, res[1].Err, "late_code_key", "code")
	wantErr(t, res[3].Err, "column parent", "23503")
	h.want("SELECT code FROM late ORDER BY code", "old", "x", "z")
}

func TestPartitionedPostgres(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.exec("CREATE TABLE ev (region text, id int, name text, PRIMARY KEY (region, id)) PARTITION BY LIST (region)", "CREATE TABLE ev_eu PARTITION OF ev FOR VALUES IN ('eu')", "CREATE TABLE ev_us PARTITION OF ev FOR VALUES IN ('us')")
	b := h.bind("ev", "region id name")
	w := h.writer(b)
	ev := func(n int, region, name string) Change {
		return insert(n, region+name, record.T(region), record.N("1"), record.T(name))
	}
	res := h.apply(w, []Change{ev(0, "eu", "A"), ev(1, "us", "B"), ev(2, "xx", "C"), ev(3, "eu", "D")}, nil)
	wantOutcomes(t, res, "done done refused collided")
	rows := h.load(b, `["eu","1"]`, `["us","1"]`)
	res = h.apply(w, []Change{update(0, "euA", rows[0], record.Value{}, record.Value{}, record.T("A2")), remove(1, "usB", rows[1]), update(2, "x", rows[1], record.T("eu"), record.N("1"), record.T("x"))}, nil)
	wantOutcomes(t, res, "done done refused")
	wantErr(t, res[2].Err, "key of a linked row cannot change")
	h.want("SELECT tableoid::regclass, name FROM ev", "ev_eu|A2")
}

// TestDisjointWritersPostgres: a writer whose transaction is open does not hold
// up another one on other rows.
func TestDisjointWritersPostgres(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.people()
	b := h.bind("people", "email name age")
	first := h.writer(b)
	res := h.apply(first, []Change{insert(0, "a", person("a@x", "A", record.NullValue)...), insert(1, "b", person("b@x", "B", record.NullValue)...)}, nil)
	rows := h.load(b, res[0].Key, res[1].Key)
	second := b.Writer(h.session(), connector)
	if err := second.Prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	applied, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := first.sess.Write(context.Background(), "t", func(ctx context.Context, tx *store.Tx) error {
			res, err := first.Apply(ctx, tx, []Change{update(0, "a", rows[0], person("a@x", "A2", record.NullValue)...), insert(1, "c", person("c@x", "C", record.NullValue)...)}, nil)
			close(applied)
			<-release
			if err == nil {
				wantOutcomes(t, res, "done done")
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-applied
	// The first ends after this one only: to wait for its rows would be to fail.
	wantOutcomes(t, h.apply(second, []Change{update(0, "b", rows[1], person("b@x", "B2", record.NullValue)...), insert(1, "d", person("d@x", "D", record.NullValue)...)}, nil), "done done")
	close(release)
	wg.Wait()
	h.want("SELECT name FROM people ORDER BY name", "A2", "B2", "C", "D")
}

func TestLostConnectionPostgres(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.people()
	w := h.writer(h.bind("people", "email name age"))
	ins := []Change{insert(0, "a", person("a@x", "A", record.NullValue)...)}
	err := h.sess.Write(context.Background(), "t", func(ctx context.Context, tx *store.Tx) error {
		var pid int
		if err := tx.GetContext(ctx, &pid, "SELECT pg_backend_pid()"); err != nil {
			return err
		}
		if err := h.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.ExecContext(ctx, "SELECT pg_terminate_backend($1)", pid)
			return err
		}); err != nil {
			return err
		}
		_, err := w.Apply(ctx, tx, ins, nil)
		return err
	})
	if fault.Of(err) != fault.Retryable {
		t.Fatalf("lost connection: %v, class %v", err, fault.Of(err))
	}
	err = h.sess.Write(context.Background(), "t", func(ctx context.Context, tx *store.Tx) error {
		_, err := w.Apply(ctx, tx, ins, nil)
		return err
	})
	wantErr(t, err, "Prepare")
	if err := w.Prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantOutcomes(t, h.apply(w, ins, nil), "done")
}

func TestLinkGoneIsRetryable(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.people()
	b := h.bind("people", "email name age")
	w := h.writer(b)
	res := h.apply(w, []Change{insert(0, "a", person("a@x", "A", record.NullValue)...)}, nil)
	rows := h.load(b, res[0].Key)
	h.exec("DELETE FROM tandem_link")
	err := h.sess.Write(context.Background(), "t", func(ctx context.Context, tx *store.Tx) error {
		_, err := w.Apply(ctx, tx, []Change{update(0, "a", rows[0], person("a@x", "A2", record.NullValue)...)}, nil)
		return err
	})
	if fault.Of(err) != fault.Retryable || errors.Is(err, store.ErrFenced) {
		t.Errorf("%v, class %v", err, fault.Of(err))
	}
	h.want("SELECT name FROM people", "A")
}
