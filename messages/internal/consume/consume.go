// Package consume holds what every broker does around a handler: a context
// that outlives the call to stop by the drain limit, and a wall against panics.
package consume

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/messages"
)

const (
	// DrainLimit is how long handlers may go on after consuming was told to
	// stop, unless configured otherwise. It is more than the 45 s after which a
	// slice of work ends by itself.
	DrainLimit = 50 * time.Second
	// Grace is how long handlers may take to return once their contexts were
	// cancelled.
	Grace = 5 * time.Second
	// panicPause keeps a message whose handler panics from being delivered
	// again thousands of times a second.
	panicPause = time.Second
)

// Context returns the context for handlers: it has ctx's values and is
// cancelled limit after ctx was. stop releases it and waits for its goroutine.
func Context(ctx context.Context, limit time.Duration) (hard context.Context, stop func()) {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-ctx.Done():
		case <-quit:
			return
		}
		t := time.NewTimer(limit)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-quit:
		}
	}()
	return hard, func() {
		close(quit)
		<-gone
		cancel()
	}
}

// Handle calls h with d and turns a panic into an error, after a pause that
// ends early with run.
func Handle(run, hard context.Context, h messages.Handler, d messages.Delivery, log *zap.Logger) (err error) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		log.Error("a message handler panicked", zap.String("queue", d.Queue), zap.String("message", d.ID),
			zap.Any("panic", cause), zap.ByteString("stack", debug.Stack()))
		t := time.NewTimer(panicPause)
		defer t.Stop()
		select {
		case <-t.C:
		case <-run.Done():
		}
		err = fmt.Errorf("messages: the handler of %s panicked: %v", d.Queue, cause)
	}()
	return h.Handle(hard, d)
}

// Check refuses handlers that cannot be run.
func Check(hs []messages.Handler) error {
	for _, h := range hs {
		if h.Queue == "" || h.Slots < 1 || h.Handle == nil {
			return fault.New(fault.Permanent, fault.CodeConfig, "messages: run",
				"handler for queue %q with %d slots: a queue, at least one slot and a function are needed", h.Queue, h.Slots)
		}
	}
	return nil
}

// ErrClosed is returned by every method of a broker that was closed.
func ErrClosed(op string) error {
	return fault.New(fault.Permanent, fault.CodeConflict, op, "the broker was closed")
}

// ErrStuck says that handlers did not return after their contexts ended.
func ErrStuck() error {
	return fault.New(fault.Retryable, fault.CodeFailed, "messages: drain",
		"handlers did not return within %v after their contexts ended; their messages are delivered again", Grace)
}
