package rabbit

import (
	"context"
	"net"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tandem-sync/tandem/fault"
)

// session is one connection with one channel in confirm mode. It is given up
// as a whole on the first doubt; the publisher then opens another one.
type session struct {
	conn    *amqp.Connection
	raw     net.Conn
	ch      *amqp.Channel
	tokens  chan struct{}    // one per message in flight
	returns chan amqp.Return // as large as tokens, so that the reader never waits
	watcher sync.WaitGroup
	gone    chan struct{} // closed when the connection or the channel ended

	mu       sync.Mutex // guards what follows
	returned map[string]int
	stale    chan struct{} // closed when the session must not be used any more
	isStale  bool
	reason   string        // why the broker blocks publishers
	open     chan struct{} // closed while it does not
	held     bool          // the broker blocked publishers at some time
	cause    error         // why the channel or the connection ended
}

// openSession connects, declares the topology and prepares the channel, all
// within ctx.
func openSession(ctx context.Context, a address, window int) (_ *session, err error) {
	const op = "rabbit: connect"
	s := &session{
		tokens: make(chan struct{}, window), returned: map[string]int{},
		gone: make(chan struct{}), stale: make(chan struct{}), open: make(chan struct{}),
	}
	close(s.open)
	began := time.Now()
	// amqp091 takes no context: closing the TCP connection is what ends a call.
	stop := func() bool { return true }
	cfg := a.config("tandem publisher", func(network, addr string) (net.Conn, error) {
		raw, err := dialTCP(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		s.raw = raw
		stop = context.AfterFunc(ctx, func() { _ = raw.Close() })
		return raw, nil
	})
	s.conn, err = amqp.DialConfig(a.uri, cfg)
	if err != nil {
		stop()
		if s.raw != nil {
			_ = s.raw.Close()
		}
		return nil, a.dialError(op, time.Since(began), firstOf(ctx.Err(), err))
	}
	err = s.prepare(window)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		s.close()
		if fault.Of(err) == fault.Unknown {
			err = a.dialError(op, time.Since(began), firstOf(ctx.Err(), err))
		}
		return nil, err
	}
	a.known.Store(true)
	return s, nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *session) prepare(window int) error {
	blocked := s.conn.NotifyBlocked(make(chan amqp.Blocking, 8))
	ended := s.conn.NotifyClose(make(chan *amqp.Error, 1))
	s.watcher.Go(func() { s.watch(blocked, ended) })
	if err := tandem().declare(s.conn.Channel); err != nil {
		return err
	}
	ch, err := s.conn.Channel()
	if err != nil {
		return err
	}
	s.ch = ch
	s.returns = ch.NotifyReturn(make(chan amqp.Return, window))
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	s.watcher.Go(func() {
		s.failed(<-closed) // the next publish starts afresh
	})
	return ch.Confirm(false)
}

// watch follows the broker's alarms until the connection ended.
func (s *session) watch(blocked <-chan amqp.Blocking, ended <-chan *amqp.Error) {
	for b := range blocked { // closed with the connection
		s.mu.Lock()
		switch {
		case b.Active && s.reason == "":
			s.reason, s.open, s.held = b.Reason+" alarm", make(chan struct{}), true
		case !b.Active && s.reason != "":
			s.reason = ""
			close(s.open)
		}
		s.mu.Unlock()
	}
	s.failed(<-ended)
	close(s.gone)
}

// blocked gives the broker's reason for refusing publishers, or "", and a
// channel that is closed when there is none.
func (s *session) blocked() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason, s.open
}

// retire forbids further use.
func (s *session) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isStale {
		s.isStale = true
		close(s.stale)
	}
}

// failed notes why the channel or the connection ended; nil is our own doing.
func (s *session) failed(why *amqp.Error) {
	s.mu.Lock()
	if s.cause == nil && why != nil {
		s.cause = why
	}
	s.mu.Unlock()
	s.retire()
}

// why gives the cause of the end, if the broker or the network gave one.
func (s *session) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return firstOf(s.cause, amqp.ErrClosed)
}

// dead says that the session must be replaced.
func (s *session) dead() bool {
	select {
	case <-s.gone:
		return true
	case <-s.stale:
		return true
	default:
		return false
	}
}

// takeReturns notes what the broker gave back. The broker says so before it
// confirms, and amqp091 reads both in one goroutine: once the confirm of a
// message is in, so is its return.
func (s *session) takeReturns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		select {
		case r, ok := <-s.returns:
			if !ok {
				return
			}
			s.returned[r.MessageId]++
		default:
			return
		}
	}
}

// wasReturned says whether the message came back, once for each time it did.
func (s *session) wasReturned(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.returned[id]
	if n > 1 {
		s.returned[id] = n - 1
	} else {
		delete(s.returned, id)
	}
	return n > 0
}

// close gives the connection up and waits for the session's goroutines. A
// healthy connection says goodbye first, and so does one whose messages an
// alarm held up: they are still on their way.
func (s *session) close() {
	s.mu.Lock()
	held := s.held
	s.mu.Unlock()
	if held || !s.dead() {
		_ = s.conn.CloseDeadline(time.Now().Add(2 * time.Second))
	}
	s.retire()
	_ = s.raw.Close()
	s.watcher.Wait()
}
