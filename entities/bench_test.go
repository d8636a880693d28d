package entities

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/lib/pq"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// The benchmarks compare Apply with a loop written by hand for exactly this
// table, on the same tables in the same run, taking turns. ratio is the median
// over the rounds of hand-written time / our time: 1 is as fast.

const batch = 2000

func (h *harness) contacts(table string) {
	h.exec("DROP TABLE IF EXISTS "+table, h.pick(
		"CREATE TABLE "+table+" (id INTEGER PRIMARY KEY, email TEXT NOT NULL, first TEXT, last TEXT, phone TEXT, age INTEGER, score DECIMAL(10,2), changed DATETIME, extra JSON)",
		"CREATE TABLE "+table+" (id bigserial PRIMARY KEY, email text NOT NULL, first text, last text, phone text, age int, score numeric(10,2), changed timestamptz, extra jsonb)"),
		"CREATE INDEX "+table+"_email ON "+table+" (email)")
}

const contactColumns = "email first last phone age score changed extra"

func contact(i int) []record.Value {
	n := strconv.Itoa(i)
	return []record.Value{
		record.T("person" + n + "@example.com"), record.T("First" + n), record.T("Last" + n), record.T("+49 30 " + n),
		record.N(strconv.Itoa(i % 90)), record.N(strconv.Itoa(i%1000) + ".25"), record.T("2026-01-02T15:04:05.123456Z"),
		record.J(`{"city":"Berlin","number":` + n + `,"tags":["a","b","c"],"text":"some more text so that the document has the size that documents of this kind often have in practice, about two hundred bytes"}`),
	}
}

const contactBase = `["person@example.com","First","Last","+49 30","12","1.25","2026-01-02T15:04:05.123456Z",{"city":"Berlin","number":1}]`

func contactChanges(from int) []Change {
	changes := make([]Change, batch)
	for i := range changes {
		n := from + i
		changes[i] = Change{N: i, Op: OpInsert, New: contact(n), NewLink: true, Link: store.Link{
			LinkHead: store.LinkHead{ID: int64(n), RemoteID: "remote-" + strconv.Itoa(n), Hash: int64(n) * 7919}, Base: contactBase, ReadAt: 1,
		}}
	}
	return changes
}

// duel runs both sides in turn and reports the median ratio. Each side gets
// the number of the first record of its batch.
func duel(b *testing.B, ours, hand func(from int) error) {
	var ratios []float64
	var total, theirs time.Duration
	round := 0
	for b.Loop() {
		sides := []func(int) error{ours, hand}
		var took [2]time.Duration
		for k := range 2 {
			k = (k + round) % 2
			runtime.GC()
			start := time.Now()
			for n := range 4 {
				if err := sides[k](1 + (round*4+n)*batch); err != nil {
					b.Fatal(err)
				}
			}
			took[k] = time.Since(start)
		}
		round++
		ratios = append(ratios, took[1].Seconds()/took[0].Seconds())
		total += took[0]
		theirs += took[1]
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.ReportMetric(float64(total.Microseconds())/float64(round*4*batch), "µs/record")
	b.ReportMetric(float64(theirs.Microseconds())/float64(round*4*batch), "hand-µs/record")
}

func (h *harness) oursInsert(b *Binding) func(int) error {
	w := h.writer(b)
	return func(from int) error {
		changes := contactChanges(from)
		return h.sess.Write(context.Background(), "bench", func(ctx context.Context, tx *store.Tx) error {
			res, err := w.Apply(ctx, tx, changes, nil)
			for _, r := range res {
				if r.Outcome != Done {
					return fmt.Errorf("%d: %s %w", r.N, r.Outcome, r.Err)
				}
			}
			return err
		})
	}
}

func BenchmarkInsertPostgres(b *testing.B) {
	h := open(b, store.Postgres)
	h.contacts("ours")
	h.contacts("hand")
	h.exec("CREATE TABLE hand_link (LIKE tandem_link INCLUDING ALL) WITH (fillfactor = 90)")
	duel(b, h.oursInsert(h.bind("ours", contactColumns)), h.handInsert())
}

// handInsert is COPY into a typed temporary table, INSERT SELECT for the rows,
// INSERT SELECT for the links, keys drawn from the sequence.
func (h *harness) handInsert() func(int) error {
	s := h.session()
	err := s.Write(context.Background(), "bench", func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `CREATE TEMP TABLE st (id bigint, email text, first text, last text, phone text, age int, score numeric(10,2), changed timestamptz, extra jsonb,
			remote_id text, link_id bigint, hash bigint, base text, state smallint, read_at bigint) ON COMMIT DELETE ROWS`)
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	return func(from int) error {
		changes := contactChanges(from)
		return s.Write(context.Background(), "bench", func(ctx context.Context, tx *store.Tx) error {
			var ids pq.Int64Array
			if err := tx.QueryRowContext(ctx, "SELECT array_agg(nextval('hand_id_seq')) FROM generate_series(1, 2000)").Scan(&ids); err != nil {
				return err
			}
			stmt, err := tx.PrepareContext(ctx, "COPY st (id, email, first, last, phone, age, score, changed, extra, remote_id, link_id, hash, base, state, read_at) FROM STDIN")
			if err != nil {
				return err
			}
			defer func() { _ = stmt.Close() }()
			for i := range changes {
				c := &changes[i]
				v := c.New
				if _, err := stmt.ExecContext(ctx, ids[i], v[0].Text, v[1].Text, v[2].Text, v[3].Text, v[4].Text, v[5].Text, v[6].Text, v[7].Text,
					c.Link.RemoteID, c.Link.ID, c.Link.Hash, c.Link.Base, int64(0), int64(1)); err != nil {
					return err
				}
			}
			if _, err := stmt.ExecContext(ctx); err != nil {
				return err
			}
			if err := stmt.Close(); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO hand (id, email, first, last, phone, age, score, changed, extra) SELECT id, email, first, last, phone, age, score, changed, extra FROM st ON CONFLICT DO NOTHING"); err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, "INSERT INTO hand_link (connector_id, remote_id, local_key, id, hash, base, state, read_at) SELECT 7, remote_id, id::text, link_id, hash, base, state, read_at FROM st")
			return err
		})
	}
}

func BenchmarkUpdatePostgres(b *testing.B) {
	h := open(b, store.Postgres)
	h.contacts("ours")
	h.contacts("hand")
	h.exec("CREATE TABLE hand_link (LIKE tandem_link INCLUDING ALL) WITH (fillfactor = 90)")
	bind := h.bind("ours", contactColumns)
	ins, hand := h.oursInsert(bind), h.handInsert()
	const rows = 50
	for i := range rows {
		if err := ins(1 + i*batch); err != nil {
			b.Fatal(err)
		}
		if err := hand(1 + i*batch); err != nil {
			b.Fatal(err)
		}
	}
	w := h.writer(bind)
	at := func(from int) (int, int) { return 1 + from%(rows*batch), from / (rows * batch) }
	ours := func(from int) error {
		first, lap := at(from - 1)
		changes := contactChanges(first)
		keys := make([]string, batch)
		for i := range keys {
			keys[i] = strconv.Itoa(first + i)
		}
		return h.sess.Write(context.Background(), "bench", func(ctx context.Context, tx *store.Tx) error {
			found, err := bind.Load(ctx, tx, keys)
			if err != nil {
				return err
			}
			for i := range found {
				n, _ := strconv.Atoi(found[i].Key)
				c := &changes[n-first]
				c.Op, c.Key, c.Old, c.NewLink = OpUpdate, found[i].Key, found[i].Values, false
				c.New[1] = record.T("Lap" + strconv.Itoa(lap) + c.New[1].Text)
			}
			res, err := w.Apply(ctx, tx, changes, nil)
			for _, r := range res {
				if r.Outcome != Done {
					return fmt.Errorf("%d: %s %w", r.N, r.Outcome, r.Err)
				}
			}
			return err
		})
	}
	duel(b, ours, h.handUpdate(at))
}

// handUpdate is COPY into a typed temporary table and two UPDATE FROM, without
// looking at what is there.
func (h *harness) handUpdate(at func(int) (int, int)) func(int) error {
	s := h.session()
	err := s.Write(context.Background(), "bench", func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `CREATE TEMP TABLE su (id bigint, email text, first text, last text, phone text, age int, score numeric(10,2), changed timestamptz, extra jsonb,
			remote_id text, hash bigint, base text, read_at bigint) ON COMMIT DELETE ROWS`)
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	return func(from int) error {
		first, lap := at(from - 1)
		changes := contactChanges(first)
		return s.Write(context.Background(), "bench", func(ctx context.Context, tx *store.Tx) error {
			stmt, err := tx.PrepareContext(ctx, "COPY su (id, email, first, last, phone, age, score, changed, extra, remote_id, hash, base, read_at) FROM STDIN")
			if err != nil {
				return err
			}
			defer func() { _ = stmt.Close() }()
			for i := range changes {
				c := &changes[i]
				v := c.New
				if _, err := stmt.ExecContext(ctx, int64(first+i), v[0].Text, "Lap"+strconv.Itoa(lap)+v[1].Text, v[2].Text, v[3].Text, v[4].Text, v[5].Text, v[6].Text, v[7].Text,
					c.Link.RemoteID, c.Link.Hash, c.Link.Base, int64(1)); err != nil {
					return err
				}
			}
			if _, err := stmt.ExecContext(ctx); err != nil {
				return err
			}
			if err := stmt.Close(); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `UPDATE hand t SET email = s.email, first = s.first, last = s.last, phone = s.phone, age = s.age, score = s.score, changed = s.changed, extra = s.extra
				FROM su s WHERE t.id = s.id`); err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, "UPDATE hand_link l SET hash = s.hash, base = s.base, read_at = s.read_at FROM su s WHERE l.connector_id = 7 AND l.remote_id = s.remote_id")
			return err
		})
	}
}

func BenchmarkInsertSQLite(b *testing.B) {
	h := open(b, store.SQLite)
	h.contacts("ours")
	h.contacts("hand")
	h.exec("CREATE TABLE hand_link (connector_id integer NOT NULL, remote_id text NOT NULL, local_key text NOT NULL, id bigint NOT NULL, hash bigint NOT NULL, base text NOT NULL, customs text, state smallint NOT NULL DEFAULT 0, read_at bigint NOT NULL, PRIMARY KEY (connector_id, remote_id)) WITHOUT ROWID",
		"CREATE UNIQUE INDEX hand_link_local ON hand_link (connector_id, local_key) WHERE state = 0")
	duel(b, h.oursInsert(h.bind("ours", contactColumns)), h.handInsertSQLite())
}

// handInsertSQLite is one prepared statement for rows and one for links.
func (h *harness) handInsertSQLite() func(int) error {
	return func(from int) error {
		changes := contactChanges(from)
		return h.sess.Write(context.Background(), "bench", func(ctx context.Context, tx *store.Tx) error {
			rows, err := tx.PrepareContext(ctx, "INSERT INTO hand (id, email, first, last, phone, age, score, changed, extra) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
			if err != nil {
				return err
			}
			defer func() { _ = rows.Close() }()
			links, err := tx.PrepareContext(ctx, "INSERT INTO hand_link (connector_id, remote_id, local_key, id, hash, base, state, read_at) VALUES (7, ?, ?, ?, ?, ?, 0, 1)")
			if err != nil {
				return err
			}
			defer func() { _ = links.Close() }()
			ctx = context.WithoutCancel(ctx)
			for i := range changes {
				c := &changes[i]
				v := c.New
				if _, err := rows.ExecContext(ctx, from+i, v[0].Text, v[1].Text, v[2].Text, v[3].Text, v[4].Text, v[5].Text, v[6].Text, v[7].Text); err != nil {
					return err
				}
				if _, err := links.ExecContext(ctx, c.Link.RemoteID, strconv.Itoa(from+i), c.Link.ID, c.Link.Hash, c.Link.Base); err != nil {
					return err
				}
			}
			return nil
		})
	}
}
