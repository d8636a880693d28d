package testenv

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Private is what Own is, for programs that are not tests.
type Private struct{ s *server }

// PrivatePostgres starts a PostgreSQL for the caller alone, who must Stop it.
func PrivatePostgres(ctx context.Context) (*Private, error) { return private(ctx, startPostgres) }

// PrivateRabbitMQ starts a RabbitMQ for the caller alone, who must Stop it.
func PrivateRabbitMQ(ctx context.Context) (*Private, error) { return private(ctx, startRabbit) }

func private(ctx context.Context, start func(context.Context) (*server, error)) (*Private, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	s, err := start(ctx)
	if err != nil {
		return nil, err
	}
	return &Private{s}, nil
}

// URL is the server's address; it stays the same when the server is started
// again.
func (p *Private) URL() string { return p.s.URL }

// Kill sends the signal to the server and waits until it is gone. SIGKILL is a
// power failure of the process; SIGQUIT is what `pg_ctl stop -m immediate` sends.
func (p *Private) Kill(how syscall.Signal) error {
	pid := p.s.PIDs[0]
	if err := syscall.Kill(pid, how); err != nil {
		return fmt.Errorf("signal to the server's process %d: %w", pid, err)
	}
	for end := time.Now().Add(20 * time.Second); carries(pid, p.s.Dir); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("the server's process %d does not end", pid)
		}
	}
	return nil
}

// Start starts the killed server again on its own files and waits until it
// answers.
func (p *Private) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := p.s.again(ctx); err != nil {
		return fmt.Errorf("start the server again: %w", err)
	}
	return nil
}

// Stop ends the server and removes its files.
func (p *Private) Stop() error {
	if p == nil {
		return nil
	}
	return p.s.stop()
}

// Pair is a PostgreSQL and a RabbitMQ for the caller alone.
type Pair struct{ Postgres, RabbitMQ *Private }

// NewPair starts both. The caller must Stop them.
func NewPair(ctx context.Context) (*Pair, error) {
	p := &Pair{}
	var err error
	if p.Postgres, err = PrivatePostgres(ctx); err == nil {
		p.RabbitMQ, err = PrivateRabbitMQ(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// Stop ends both servers and removes their files.
func (p *Pair) Stop() error { return errors.Join(p.RabbitMQ.Stop(), p.Postgres.Stop()) }
