package embedded

import (
	"context"
	"sync/atomic"

	"github.com/tandem-sync/tandem/messages"
)

// item is one message in a queue.
type item struct {
	msg   messages.Message
	again bool // it was delivered before
}

// queue is a bounded first-in-first-out queue. A message keeps its place in
// the count until it is done, so that giving one back always finds room.
type queue struct {
	waiting chan item
	held    atomic.Int64 // waiting and in work
}

func newQueue(bound int) *queue { return &queue{waiting: make(chan item, bound)} }

// put adds a message; false when the queue is full.
func (q *queue) put(m messages.Message) bool {
	if q.held.Add(1) > int64(cap(q.waiting)) {
		q.held.Add(-1)
		return false
	}
	q.waiting <- item{msg: m}
	return true
}

// take waits for a message; false when ctx ended.
func (q *queue) take(ctx context.Context) (item, bool) {
	if ctx.Err() != nil {
		return item{}, false
	}
	select {
	case <-ctx.Done():
		return item{}, false
	case it := <-q.waiting:
		if ctx.Err() != nil { // both were ready: nothing starts once ctx ended
			q.waiting <- it
			return item{}, false
		}
		return it, true
	}
}

// giveBack puts a message that was not done to the tail, behind those that
// have not had their turn.
func (q *queue) giveBack(it item) {
	it.again = true
	q.waiting <- it
}

// done forgets a message that was taken.
func (q *queue) done() { q.held.Add(-1) }
