package testenv

import (
	"context"
	"syscall"
	"testing"
)

// Own is a server of one test alone, which may therefore kill it and start it
// again. It is not shared and not remembered; it ends with the test.
type Own struct {
	tb testing.TB
	p  *Private
}

// OwnPostgres starts a PostgreSQL for this test alone. Its URL names the
// maintenance database, which is empty.
func OwnPostgres(tb testing.TB) *Own {
	tb.Helper()
	return own(tb, "PostgreSQL", PrivatePostgres)
}

// OwnRabbitMQ starts a RabbitMQ for this test alone.
func OwnRabbitMQ(tb testing.TB) *Own {
	tb.Helper()
	return own(tb, "RabbitMQ", PrivateRabbitMQ)
}

func own(tb testing.TB, what string, start func(context.Context) (*Private, error)) *Own {
	tb.Helper()
	p, err := start(context.Background())
	if err != nil {
		tb.Fatalf("%s for this test alone: %v", what, err)
	}
	tb.Cleanup(func() {
		if err := p.Stop(); err != nil {
			tb.Logf("testenv: clearing away %s: %v", what, err)
		}
	})
	return &Own{tb: tb, p: p}
}

// URL is the server's address; it stays the same when the server is started
// again.
func (o *Own) URL() string { return o.p.URL() }

// Kill sends the signal to the server and waits until it is gone. SIGKILL is a
// power failure of the process; SIGQUIT is what `pg_ctl stop -m immediate` sends.
func (o *Own) Kill(how syscall.Signal) {
	o.tb.Helper()
	if err := o.p.Kill(how); err != nil {
		o.tb.Fatal(err)
	}
}

// Start starts the killed server again on its own files and waits until it
// answers.
func (o *Own) Start() {
	o.tb.Helper()
	if err := o.p.Start(context.Background()); err != nil {
		o.tb.Fatal(err)
	}
}
