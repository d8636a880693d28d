package storetest

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

func (h house) token(t *testing.T) (row store.TokenRow) {
	t.Helper()
	read(t, h.db, func(ctx context.Context, tx *store.Tx) (err error) {
		row, err = tx.Token(ctx, h.channel)
		return err
	})
	return row
}

func (h house) beginToken(t *testing.T, version int64, owner string, ttl time.Duration, pending bool) (ok bool) {
	t.Helper()
	write(t, h.db, func(ctx context.Context, tx *store.Tx) (err error) {
		ok, err = tx.BeginToken(ctx, h.channel, version, owner, ttl, pending)
		return err
	})
	return ok
}

func (h house) endToken(t *testing.T, version int64, owner string, end store.TokenEnd) (ok bool) {
	t.Helper()
	write(t, h.db, func(ctx context.Context, tx *store.Tx) (err error) {
		ok, err = tx.EndToken(ctx, h.channel, version, owner, end)
		return err
	})
	return ok
}

func testTokenLife(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	if row := h.token(t); row != (store.TokenRow{}) {
		t.Fatalf("a token out of nothing: %+v", row)
	}
	equal(t, "the first taker", h.beginToken(t, 0, "a", time.Minute, true), true)
	equal(t, "a second taker", h.beginToken(t, 0, "b", time.Minute, true), false)
	equal(t, "the same taker again", h.beginToken(t, 0, "a", time.Minute, true), false)
	begun := h.token(t).Pending
	if begun == nil || time.Since(*begun) > time.Minute {
		t.Fatalf("pending since %v", begun)
	}
	sealed := "sealed one"
	equal(t, "stored", h.endToken(t, 0, "a", store.TokenEnd{Sealed: &sealed}), true)
	if row := h.token(t); row.Version != 1 || row.Sealed != sealed || row.Problem != "" || row.Pending != nil {
		t.Fatalf("%+v", row)
	}
	equal(t, "stored over a newer one", h.endToken(t, 0, "a", store.TokenEnd{Sealed: &sealed}), false)
	equal(t, "an old version", h.beginToken(t, 0, "b", time.Minute, false), false)
	equal(t, "the next renewal", h.beginToken(t, 1, "b", time.Minute, false), true)
	equal(t, "nothing came of it", h.endToken(t, 1, "b", store.TokenEnd{Pending: begun}), true)
	if row := h.token(t); row.Version != 1 || row.Sealed != sealed || row.Pending == nil || !row.Pending.Equal(*begun) {
		t.Fatalf("%+v", row)
	}
	equal(t, "the right was given back", h.beginToken(t, 1, "c", time.Minute, true), true)
	equal(t, "refused", h.endToken(t, 1, "c", store.TokenEnd{Problem: "authorise again"}), true)
	if row := h.token(t); row.Version != 2 || row.Problem != "authorise again" || row.Sealed != sealed {
		t.Fatalf("%+v", row)
	}
	testTokenSeals(t, h, sealed)
	problem := func() (p string) {
		t.Helper()
		read(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			p, err = tx.TokenProblem(ctx, h.channel)
			return err
		})
		return p
	}
	equal(t, "the problem", problem(), "authorise again")
	time.Sleep(2 * time.Millisecond)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		_, _, _, err := tx.PutChannel(ctx, store.Channel{Name: "crm", Type: "rest", Enabled: true, Settings: json.RawMessage(`{"token":"another"}`)})
		return err
	})
	equal(t, "the channel was changed since", problem(), "")
}

func testTokenSeals(t *testing.T, h house, sealed string) {
	t.Helper()
	write(t, h.db, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.TokenSeals(ctx)
		if err != nil {
			return err
		}
		if len(list) != 1 || list[0] != (store.TokenSeal{ChannelID: h.channel, Channel: "crm", Sealed: sealed}) {
			t.Errorf("%+v", list)
		}
		if ok, err := tx.ResealToken(ctx, h.channel, "another", "x"); ok || err != nil {
			t.Errorf("replaced what was not there: %v %v", ok, err)
		}
		if ok, err := tx.ResealToken(ctx, h.channel, sealed, "sealed anew"); !ok || err != nil {
			t.Errorf("not replaced: %v %v", ok, err)
		}
		return nil
	})
	equal(t, "the token", h.token(t).Sealed, "sealed anew")
}

func testTokenExpiry(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	equal(t, "taken", h.beginToken(t, 0, "dead", time.Millisecond, true), true)
	time.Sleep(20 * time.Millisecond)
	began := h.token(t).Pending
	equal(t, "taken over", h.beginToken(t, 0, "alive", time.Minute, true), true)
	if now := h.token(t).Pending; began == nil || now == nil || !now.Equal(*began) {
		t.Fatalf("the first loss is what counts: %v, then %v", began, now)
	}
	// The dead one wakes up with a token while the other is still asking.
	late := "late"
	equal(t, "the late answer", h.endToken(t, 0, "dead", store.TokenEnd{Sealed: &late}), true)
	mine := "mine"
	equal(t, "the newer token stays", h.endToken(t, 0, "alive", store.TokenEnd{Sealed: &mine}), false)
	equal(t, "the token", h.token(t).Sealed, late)
}

func testTokenOneTaker(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	var won atomic.Int32
	var wg sync.WaitGroup
	for _, owner := range []string{"a", "b", "c", "d", "e"} {
		wg.Go(func() {
			err := db.Write(t.Context(), "token", func(ctx context.Context, tx *store.Tx) error {
				ok, err := tx.BeginToken(ctx, h.channel, 0, owner, time.Minute, true)
				if err == nil && ok {
					won.Add(1)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	equal(t, "takers", won.Load(), 1)
}

func testBreaker(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	state := func() (b store.Breaker) {
		t.Helper()
		read(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			b, err = tx.Breaker(ctx, h.channel)
			return err
		})
		return b
	}
	set := func(open time.Duration, reason string) {
		t.Helper()
		write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.SetBreaker(ctx, h.channel, open, reason) })
	}
	equal(t, "never opened", state(), store.Breaker{State: store.BreakerClosed})
	set(time.Hour, "503")
	b := state()
	if b.State != store.BreakerOpen || b.Reason != "503" || b.Since == nil || b.Until == nil || b.Until.Sub(*b.Since).Round(time.Second) != time.Hour {
		t.Fatalf("%+v", b)
	}
	set(time.Millisecond, "503")
	time.Sleep(20 * time.Millisecond)
	equal(t, "its time has passed", state().State, store.BreakerHalfOpen)
	hourAgo := "UPDATE tandem_breaker SET until = until - 3600000000"
	if db.Dialect() == store.Postgres {
		hourAgo = "UPDATE tandem_breaker SET until = until - interval '1 hour'"
	}
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, hourAgo)
		return err
	})
	if b := state(); b.State != store.BreakerClosed || b.Until != nil || b.Reason != "" {
		t.Fatalf("long ago: %+v", b)
	}
	set(0, "")
	if b := state(); b.State != store.BreakerClosed || b.Until != nil || b.Reason != "" {
		t.Fatalf("%+v", b)
	}
}
