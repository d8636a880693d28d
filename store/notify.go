package store

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"
	"go.uber.org/zap"
)

// NotifyChannel is what PostgreSQL notifies when a change was captured.
const NotifyChannel = "tandem_changes"

const (
	notifyFunction = `CREATE OR REPLACE FUNCTION tandem_notify_changes() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
		AS $$ BEGIN PERFORM pg_catalog.pg_notify('` + NotifyChannel + `', ''); RETURN NULL; END $$`
	notifyTrigger = `CREATE TRIGGER tandem_notify_changes AFTER INSERT ON tandem_change_log FOR EACH STATEMENT EXECUTE FUNCTION tandem_notify_changes()`
	notifyThere   = "SELECT EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = 'tandem_change_log'::regclass AND tgname = 'tandem_notify_changes')"
	// notifyPatience is how long writers of the change log may be held up by the
	// wait for those before them.
	notifyPatience = "SET LOCAL lock_timeout = '2s'"
)

// The pauses of a listener: until it connects again, and between its own looks at
// whether the connection is still there.
const (
	listenSoonest = 100 * time.Millisecond
	listenLatest  = 10 * time.Second
	listenPing    = time.Minute
)

// NotifyChanges makes every statement that captures changes notify the listeners
// of ListenChanges, or ends that. It does nothing where that is so already, and on
// SQLite, where nobody could listen. An error of class Retryable may be that the
// application held the change log for too long.
func (db *DB) NotifyChanges(ctx context.Context, on bool) error {
	if db.dialect != Postgres {
		return nil
	}
	return db.Write(ctx, "notify of changes", func(ctx context.Context, tx *Tx) error {
		there := false
		if err := tx.row(ctx, notifyThere).Scan(&there); err != nil || there == on {
			return err
		}
		statements := []string{notifyPatience, notifyFunction, notifyTrigger}
		if !on {
			statements = []string{notifyPatience, "DROP TRIGGER tandem_notify_changes ON tandem_change_log", "DROP FUNCTION tandem_notify_changes()"}
		}
		for _, q := range statements {
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return fmt.Errorf("notify of changes: %w", err)
			}
		}
		return nil
	})
}

// ListenChanges calls heard whenever a change was captured, and whenever changes
// may have been missed because the connection was away. It connects again by
// itself and returns when ctx ends. heard must not block.
func (db *DB) ListenChanges(ctx context.Context, heard func()) {
	if db.dialect != Postgres {
		<-ctx.Done()
		return
	}
	l := pq.NewListener(db.url, listenSoonest, listenLatest, func(_ pq.ListenerEventType, err error) {
		if err != nil && ctx.Err() == nil {
			db.log.Warn("the connection that hears of changes is away; they are looked for meanwhile", zap.Error(describe("listen", err)))
		}
	})
	stop := context.AfterFunc(ctx, func() { _ = l.Close() }) //nolint:errcheck // it only says that it was closed before
	defer func() {
		stop()
		_ = l.Close()        //nolint:errcheck // likewise
		for range l.Notify { //nolint:revive // its goroutine has ended when the channel is closed
		}
	}()
	if l.Listen(NotifyChannel) != nil { // it waits for the connection; the context ended
		return
	}
	heard()
	ping := time.NewTicker(listenPing)
	defer ping.Stop()
	for {
		select {
		case _, open := <-l.Notify:
			if !open {
				return
			}
			heard()
		case <-ping.C:
			_ = l.Ping() //nolint:errcheck // one that fails makes the listener connect again
		}
	}
}
