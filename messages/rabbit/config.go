// Package rabbit is a messages.Broker on RabbitMQ, for a fleet of processes.
// It consumes through watermill-amqp and publishes through a publisher of its
// own that keeps many confirms in flight. It is the only package of Tandem that
// knows AMQP.
package rabbit

import (
	"time"

	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/messages/internal/consume"
)

// The codes of errors that only this package has.
const (
	CodeBlocked    = "broker_blocked"    // an alarm (memory, disk) makes the broker refuse publishers
	CodeUnroutable = "broker_unroutable" // no queue took the message
	CodeRefused    = "broker_refused"    // the broker would not take the message, such as on a full queue
)

// Config configures a Broker.
type Config struct {
	// URL is amqp:// or amqps:// with user, password and virtual host, and the
	// query parameters of https://www.rabbitmq.com/docs/uri-query-parameters.
	URL string
	// AllowPlaintext permits amqp:// to a host that is not loopback.
	AllowPlaintext bool
	// Logger gets lost connections and refused messages; nil means none.
	Logger *zap.Logger
	// DrainLimit is how long handlers may go on after Run's context ended; 0
	// means 50 s.
	DrainLimit time.Duration
	// ConfirmTimeout bounds one call of Publish, connecting included, beside
	// its context; 0 means 10 s.
	ConfirmTimeout time.Duration
	// Prefetch is how many messages the broker hands to each slot in advance; 0
	// means 1, which is right for work that takes seconds.
	Prefetch int
	// Window is how many messages may be published and not yet confirmed; 0
	// means 256.
	Window int
}

func (c *Config) setDefaults() {
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.DrainLimit <= 0 {
		c.DrainLimit = consume.DrainLimit
	}
	if c.ConfirmTimeout <= 0 {
		c.ConfirmTimeout = 10 * time.Second
	}
	if c.Prefetch <= 0 {
		c.Prefetch = 1
	}
	if c.Window <= 0 {
		c.Window = 256
	}
}
