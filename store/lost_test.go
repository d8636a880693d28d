package store_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/store"
)

const countUp = "UPDATE counter SET n = n + 1"

func addCounter(ctx context.Context, tx *store.Tx) error {
	_, err := tx.ExecContext(ctx, "CREATE TABLE counter (n integer)")
	if err == nil {
		_, err = tx.ExecContext(ctx, "INSERT INTO counter VALUES (0)")
	}
	return err
}

func up(ctx context.Context, tx *store.Tx) error {
	_, err := tx.ExecContext(ctx, countUp)
	return err
}

// TestStatementAnswerLost shows why every write stands in a transaction: the
// same statement, its answer lost once, takes effect twice as a bare Exec of
// lib/pq and once inside Write.
func TestStatementAnswerLost(t *testing.T) {
	t.Parallel()
	address := testenv.Postgres(t)
	direct := open(t, store.Config{URL: address})
	if err := direct.Write(t.Context(), "counter", addCounter); err != nil {
		t.Fatal(err)
	}
	count := func() (n int) {
		t.Helper()
		err := direct.Write(t.Context(), "count", func(ctx context.Context, tx *store.Tx) error {
			return tx.QueryRowxContext(ctx, "UPDATE counter SET n = 0 RETURNING (SELECT n FROM counter)").Scan(&n)
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	p, proxied := newProxy(t, address)

	bare, err := sql.Open("postgres", proxied)
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	c := p.arm(countUp, false)
	if _, err := bare.ExecContext(t.Context(), countUp); err != nil || !c.hit.Load() {
		t.Fatalf("bare Exec: %v, hit %v", err, c.hit.Load())
	}
	if n := count(); n != 2 {
		t.Fatalf("a bare Exec took effect %d times; lib/pq used to run it twice without an error", n)
	}

	db := open(t, store.Config{URL: proxied})
	c = p.arm(countUp, false)
	calls := 0
	err = db.Write(t.Context(), "count up", func(ctx context.Context, tx *store.Tx) error {
		calls++
		return up(ctx, tx)
	})
	if err != nil || calls != 2 || !c.hit.Load() {
		t.Fatalf("Write: %v after %d calls, hit %v", err, calls, c.hit.Load())
	}
	if n := count(); n != 1 {
		t.Fatalf("Write took effect %d times", n)
	}
	// The request itself lost: the same.
	c = p.arm(countUp, true)
	if err := db.Write(t.Context(), "count up", up); err != nil || !c.hit.Load() {
		t.Fatalf("Write: %v, hit %v", err, c.hit.Load())
	}
	if n := count(); n != 1 {
		t.Fatalf("Write took effect %d times", n)
	}

	// A session never repeats: it fails, nothing happened, and it works on with
	// a new connection.
	s, err := db.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	gen := s.Generation()
	c = p.arm(countUp, false)
	err = s.Write(t.Context(), "count up", up)
	if fault.Of(err) != fault.Retryable || errors.Is(err, store.ErrCommitUnknown) || !c.hit.Load() {
		t.Fatalf("session: %v, hit %v", err, c.hit.Load())
	}
	if n := count(); n != 0 {
		t.Fatalf("the failed transaction took effect %d times", n)
	}
	if err := s.Write(t.Context(), "count up", up); err != nil || s.Generation() == gen {
		t.Fatalf("session after the cut: %v, generation %d then %d", err, gen, s.Generation())
	}
	if n := count(); n != 1 {
		t.Fatalf("the session's next write took effect %d times", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCommitAnswerLost breaks the connection at COMMIT, once after the server
// has done it and once before it came there: the error says "unknown" for both,
// and the slice's batch number tells them apart.
func TestCommitAnswerLost(t *testing.T) {
	t.Parallel()
	address := testenv.Postgres(t)
	direct := open(t, store.Config{URL: address})
	slice := oneSlice(t, direct)
	p, proxied := newProxy(t, address)
	db := open(t, store.Config{URL: proxied})
	s, err := db.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	type writer func(context.Context, string, func(context.Context, *store.Tx) error) error
	batch := int64(0)
	for _, c := range []struct {
		name  string
		write writer
		lost  bool
		moves int64
	}{
		{"Write, the answer lost", db.Write, false, 1},
		{"Write, the request lost", db.Write, true, 0},
		{"Session, the answer lost", s.Write, false, 1},
		{"Session, the request lost", s.Write, true, 0},
	} {
		plan := p.arm("COMMIT", c.lost)
		calls := 0
		err := c.write(t.Context(), "batch", func(ctx context.Context, tx *store.Tx) error {
			calls++
			return tx.CommitSlice(ctx, store.SliceStep{SliceID: slice, Expected: batch, Next: batch + 1, Add: store.Counters{Read: 1}})
		})
		if !plan.hit.Load() || calls != 1 {
			t.Fatalf("%s: hit %v, %d calls", c.name, plan.hit.Load(), calls)
		}
		if !errors.Is(err, store.ErrCommitUnknown) || fault.CodeOf(err) != store.CodeCommitUnknown || fault.Of(err) != fault.Retryable {
			t.Fatalf("%s: %v", c.name, err)
		}
		// The marker, read on another connection, decides.
		var now store.Slice
		if err := db.Read(t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
			now, err = tx.Slice(ctx, slice)
			return err
		}); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if now.BatchNo != batch+c.moves || now.Counters.Read != now.BatchNo {
			t.Fatalf("%s: batch %d, read %d, want %d", c.name, now.BatchNo, now.Counters.Read, batch+c.moves)
		}
		batch = now.BatchNo
	}
	if err := s.Write(t.Context(), "batch", func(ctx context.Context, tx *store.Tx) error {
		return tx.CommitSlice(ctx, store.SliceStep{SliceID: slice, Expected: batch, Next: batch + 1})
	}); err != nil {
		t.Fatalf("after all of it: %v", err)
	}
}

// TestLostBatchAnswer breaks at the statement that moves the slice: Write
// repeats the whole transaction, and the slice moves by one batch.
func TestLostBatchAnswer(t *testing.T) {
	t.Parallel()
	address := testenv.Postgres(t)
	direct := open(t, store.Config{URL: address})
	slice := oneSlice(t, direct)
	p, proxied := newProxy(t, address)
	db := open(t, store.Config{URL: proxied})
	c := p.arm("UPDATE tandem_slice", false)
	if err := db.Write(t.Context(), "batch", func(ctx context.Context, tx *store.Tx) error {
		return tx.CommitSlice(ctx, store.SliceStep{SliceID: slice, Expected: 0, Next: 1, Add: store.Counters{Read: 5}})
	}); err != nil || !c.hit.Load() {
		t.Fatalf("%v, hit %v", err, c.hit.Load())
	}
	if err := direct.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		s, err := tx.Slice(ctx, slice)
		if s.BatchNo != 1 || s.Counters.Read != 5 {
			t.Errorf("%+v", s)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// oneSlice makes a channel with an executing run of one slice.
func oneSlice(tb testing.TB, db *store.DB) (id int64) {
	tb.Helper()
	err := db.Write(tb.Context(), "prepare", func(ctx context.Context, tx *store.Tx) error {
		channel, _, _, err := tx.PutChannel(ctx, store.Channel{Name: "crm", Type: "rest", Settings: []byte(`{}`)})
		if err != nil {
			return err
		}
		connectors, err := tx.PutConnectors(ctx, channel, []store.Connector{{Name: "contacts"}})
		if err != nil {
			return err
		}
		run, _, _, err := tx.AddRequest(ctx, store.Request{ChannelID: channel}, true)
		if err != nil {
			return err
		}
		if _, err := tx.StartRun(ctx, run.ID, []store.Slice{{ConnectorID: connectors[0].ID}}); err != nil {
			return err
		}
		slices, err := tx.Slices(ctx, run.ID)
		if err == nil {
			id = slices[0].ID
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return id
}
