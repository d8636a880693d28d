package main

import (
	"context"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/client"
	"github.com/tandem-sync/tandem/store"
)

// eventually reads the database of the session until fn is content.
func eventually(ts *testscript.TestScript, what string, fn func(ctx context.Context, tx *store.Tx) (bool, error)) {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	db, err := store.Open(ctx, store.Config{URL: "sqlite:" + ts.MkAbs("tandem.db"), ReadOnly: true})
	ts.Check(err)
	defer func() { _ = db.Close() }()
	for ctx.Err() == nil {
		ok := false
		ts.Check(db.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
			ok, err = fn(ctx, tx)
			return err
		}))
		if ok {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("%s: not within 30 s", what)
}

// waitruns CHANNEL N: waits until N runs of the channel have finished.
func waitRuns(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitruns CHANNEL N")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	eventually(ts, args[1]+" runs of "+args[0], func(ctx context.Context, tx *store.Tx) (bool, error) {
		ch, err := tx.ChannelByName(ctx, args[0])
		if err != nil {
			return false, err
		}
		runs, err := tx.Runs(ctx, store.RunFilter{ChannelID: ch.ID, Status: []store.Status{store.StatusFinished}})
		return len(runs) >= want, err
	})
}

// waitrows N: waits until the table of contacts has N rows.
func waitRows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitrows N")
	}
	eventually(ts, args[0]+" rows", func(ctx context.Context, tx *store.Tx) (bool, error) {
		var n int
		err := tx.GetContext(ctx, &n, "SELECT count(*) FROM contacts")
		return strconv.Itoa(n) == args[0], err
	})
}

// idle CHANNEL: waits, ten seconds at most, until no run of the channel is
// planned or under way, and sees that none starts for two more.
func idle(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: idle CHANNEL")
	}
	open := func(ctx context.Context, tx *store.Tx) (n int, err error) {
		ch, err := tx.ChannelByName(ctx, args[0])
		if err != nil {
			return 0, err
		}
		runs, err := tx.Runs(ctx, store.RunFilter{
			ChannelID: ch.ID, Status: []store.Status{store.StatusPlanned, store.StatusPreparing, store.StatusExecution},
		})
		return len(runs), err
	}
	begun := time.Now()
	eventually(ts, args[0]+" idle", func(ctx context.Context, tx *store.Tx) (bool, error) {
		n, err := open(ctx, tx)
		return n == 0, err
	})
	if took := time.Since(begun); took > time.Minute {
		ts.Fatalf("runs went on for %v", took)
	}
	time.Sleep(2 * time.Second)
	eventually(ts, args[0]+" idle", func(ctx context.Context, tx *store.Tx) (bool, error) {
		n, err := open(ctx, tx)
		if n > 0 {
			ts.Fatalf("%d runs began", n)
		}
		return true, err
	})
}

// finished ID: waits until the service at $PORT says that the run has ended
// well.
func finished(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: finished ID")
	}
	c, err := client.New("http://127.0.0.1:"+ts.Getenv("PORT"), ts.Getenv("TANDEM_API_TOKEN"), "")
	ts.Check(err)
	defer c.Close()
	id, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		r, err := c.Run(ctx, id)
		switch {
		case err == nil && r.Status == store.StatusFinished:
			return
		case err == nil && r.Status.Ended():
			ts.Fatalf("run %d %s: %+v", id, r.Status, r.Error)
		case err != nil && fault.CodeOf(err) != fault.CodeNotFound:
			ts.Check(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("run %d does not end", id)
}
