// Package testenv gives tests real servers: a private PostgreSQL and a private
// RabbitMQ on free loopback ports, started once per machine and shared by all
// test binaries through a state file and a file lock.
//
// Every call hands out something of its own, a fresh database or a fresh
// virtual host, so tests may run in parallel and in any order. The servers keep
// running when a test binary ends, so that the next one need not start them;
// `go run ./internal/testenv/cmd/testenv down` ends them and removes their
// files (`make test` does).
//
// TANDEM_TEST_POSTGRES_URL and TANDEM_TEST_AMQP_URL name existing servers to
// use instead. TANDEM_TESTENV_DIR moves the state file, which is what makes two
// checkouts share servers or not. A server that cannot be had fails the test in
// one clear sentence; it never skips it.
package testenv

import (
	"context"
	"testing"
	"time"
)

// Names of the environment variables this package reads.
const (
	EnvPostgres   = "TANDEM_TEST_POSTGRES_URL"
	EnvAMQP       = "TANDEM_TEST_AMQP_URL"
	EnvManagement = "TANDEM_TEST_AMQP_MANAGEMENT_URL" // of the broker in EnvAMQP; default port 15672 of its host
	EnvDir        = "TANDEM_TESTENV_DIR"
)

// startLimit bounds everything that may happen behind one call: waiting for
// another process that is starting the servers, installing a package, starting.
const startLimit = 8 * time.Minute

// callLimit bounds making or removing one database or virtual host.
const callLimit = time.Minute

// Postgres returns the URL of a fresh and empty database. It is dropped, with
// whatever is still connected to it, when the test ends.
func Postgres(tb testing.TB) string {
	tb.Helper()
	return fresh(tb, "PostgreSQL", FreshPostgres)
}

// RabbitMQ returns the AMQP URL of a fresh virtual host, deleted when the test
// ends. On a broker named by TANDEM_TEST_AMQP_URL whose management API cannot
// be used, it returns that URL itself: Tandem's exchanges and queues there are
// deleted before and after, and a lock that is held until the test ends keeps
// the tests of all binaries apart, so there a test must not call it twice.
func RabbitMQ(tb testing.TB) string {
	tb.Helper()
	return fresh(tb, "RabbitMQ", FreshRabbitMQ)
}

func fresh(tb testing.TB, what string, provide func(context.Context) (string, Drop, error)) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	url, drop, err := provide(ctx)
	if err != nil {
		tb.Fatalf("%s for the tests: %v", what, err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callLimit)
		defer cancel()
		if err := drop(ctx); err != nil {
			tb.Logf("testenv: clearing away %s: %v", what, err)
		}
	})
	return url
}

// Drop takes away what was made for one caller.
type Drop func(ctx context.Context) error

// FreshPostgres is Postgres for programs that are not tests.
func FreshPostgres(ctx context.Context) (string, Drop, error) {
	admin, err := PostgresURL(ctx)
	if err != nil {
		return "", nil, err
	}
	name := freshName()
	if err := createDatabase(ctx, admin, name); err != nil {
		return "", nil, err
	}
	return withPath(admin, name), func(ctx context.Context) error { return dropDatabase(ctx, admin, name) }, nil
}

// FreshRabbitMQ is RabbitMQ for programs that are not tests.
func FreshRabbitMQ(ctx context.Context) (string, Drop, error) {
	b, err := broker(ctx)
	if err != nil {
		return "", nil, err
	}
	if b.management == "" {
		return sharedVhost(ctx, b.url)
	}
	name := freshName()
	if err := createVhost(ctx, b, name); err != nil {
		return "", nil, err
	}
	return withPath(b.url, name), func(ctx context.Context) error { return deleteVhost(ctx, b, name) }, nil
}
