package messages

import "context"

// Message is one message on its way out.
type Message struct {
	Key     string            // routing key, such as KeySync
	ID      string            // unique id, normally a UUID; empty lets the broker make one
	Body    []byte            // the encoded Job
	Headers map[string]string // more headers; nil for none
}

// Publisher hands messages to a broker.
type Publisher interface {
	// Publish returns nil when the broker has taken responsibility for every
	// one of msgs. An error means that the fate of all of them is unknown: the
	// caller publishes all of them again later, which the consumers bear.
	Publish(ctx context.Context, msgs ...Message) error
	// PublishDead stores a copy of a message that cannot be used in QueueDead
	// with the header HeaderReason; reason is one of the Reason constants.
	// Errors are as for Publish.
	PublishDead(ctx context.Context, body []byte, reason string) error
}

// Delivery is one message that came from a queue.
type Delivery struct {
	ID          string // the publisher's id, or one made on arrival when it gave none
	Queue       string // the queue it came from
	Body        []byte // as published; not to be kept after the handler returned
	Redelivered bool   // the broker delivered it at least once before
}

// Handler says who handles the messages of a queue.
type Handler struct {
	// Queue is the name of a job queue.
	Queue string
	// Slots is how many messages are handled at the same time, at least 1.
	Slots int
	// Handle does the work. Nil acknowledges the message; an error gives it
	// back untouched and it is delivered again at once, so the handler pauses
	// before it returns one. A panic is logged and counts as an error. The
	// context is not cancelled when Run's context ends but when the drain
	// limit is over.
	Handle func(ctx context.Context, d Delivery) error
}

// Broker publishes and consumes.
type Broker interface {
	Publisher
	// Run consumes until ctx ends and then drains: it takes no further message,
	// lets the running handlers finish and returns once their acknowledgements
	// are out: nil after a clean drain. Handlers that outlast the drain limit
	// have their contexts cancelled; those that still do not return within a
	// grace time make Run return an error and their messages are delivered
	// again. An error before ctx ended says why consuming could not start or go
	// on; the caller decides whether to call Run again.
	Run(ctx context.Context, hs ...Handler) error
	// Ready returns nil when messages can be published and, while Run is
	// active, consumed.
	Ready(ctx context.Context) error
	// Close ends Run as a cancelled context would, waits for it, and gives the
	// connections up. Further calls of any method return an error, further
	// calls of Close nil.
	Close() error
}
