package testenv

import (
	"context"
	"syscall"
	"testing"
	"time"
)

// Own is a server of one test alone, which may therefore kill it and start it
// again. It is not shared and not remembered; it ends with the test.
type Own struct {
	tb testing.TB
	s  *server
}

// OwnPostgres starts a PostgreSQL for this test alone. Its URL names the
// maintenance database, which is empty.
func OwnPostgres(tb testing.TB) *Own {
	tb.Helper()
	return own(tb, "PostgreSQL", startPostgres)
}

// OwnRabbitMQ starts a RabbitMQ for this test alone.
func OwnRabbitMQ(tb testing.TB) *Own {
	tb.Helper()
	return own(tb, "RabbitMQ", startRabbit)
}

func own(tb testing.TB, what string, start func(context.Context) (*server, error)) *Own {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	s, err := start(ctx)
	if err != nil {
		tb.Fatalf("%s for this test alone: %v", what, err)
	}
	tb.Cleanup(func() {
		if err := s.stop(); err != nil {
			tb.Logf("testenv: clearing away %s: %v", what, err)
		}
	})
	return &Own{tb: tb, s: s}
}

// URL is the server's address; it stays the same when the server is started
// again.
func (o *Own) URL() string { return o.s.URL }

// Kill sends the signal to the server and waits until it is gone. SIGKILL is a
// power failure of the process; SIGQUIT is what `pg_ctl stop -m immediate` sends.
func (o *Own) Kill(how syscall.Signal) {
	o.tb.Helper()
	pid := o.s.PIDs[0]
	if err := syscall.Kill(pid, how); err != nil {
		o.tb.Fatalf("signal to the server's process %d: %v", pid, err)
	}
	for end := time.Now().Add(20 * time.Second); carries(pid, o.s.Dir); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			o.tb.Fatalf("the server's process %d does not end", pid)
		}
	}
}

// Start starts the killed server again on its own files and waits until it
// answers.
func (o *Own) Start() {
	o.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if err := o.s.again(ctx); err != nil {
		o.tb.Fatalf("start the server again: %v", err)
	}
}
