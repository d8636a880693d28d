package pass

import (
	"context"
	"errors"
	"io"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/internal/yield"
)

// source reads pages ahead of the writer: at most aheadPages and aheadBytes
// wait, so that memory is bounded whatever the page size.
type source struct {
	pages  chan channels.Page
	room   *semaphore.Weighted
	cancel context.CancelFunc
	done   chan struct{}
	err    error // read after pages is closed; io.EOF at the end of the listing
}

// startSource reads r in a goroutine that close ends and waits for. Pages are
// dated by now, whatever clock the reader has.
func startSource(ctx context.Context, r channels.Reader, now func() time.Time) *source {
	ctx, cancel := context.WithCancel(ctx)
	s := &source{
		pages:  make(chan channels.Page, aheadPages),
		room:   semaphore.NewWeighted(aheadBytes),
		cancel: cancel,
		done:   make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		defer close(s.pages)
		s.err = s.read(ctx, r, now)
		if err := r.Close(); err != nil && errors.Is(s.err, io.EOF) {
			s.err = err
		}
	}()
	return s
}

func (s *source) read(ctx context.Context, r channels.Reader, now func() time.Time) error {
	for {
		if err := yield.Point(ctx, "page.before_fetch"); err != nil {
			return err
		}
		started := now()
		page, err := r.ReadPage(ctx)
		page.FetchStarted = started
		if err != nil {
			return err
		}
		if err := yield.Point(ctx, "page.after_fetch"); err != nil {
			return err
		}
		if err := s.room.Acquire(ctx, weight(page)); err != nil {
			return err
		}
		select {
		case s.pages <- page:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// next gives the next page; ok is false at the end of the listing. A page that
// is there comes first. stop says that there is none and that one of the others
// happened: a page that a remote takes long for must not hold a drain up.
func (s *source) next(ctx context.Context, deadline <-chan time.Time, soft <-chan struct{}) (page channels.Page, ok, stop bool) {
	select {
	case page, ok = <-s.pages:
		return page, ok, false
	default:
	}
	select {
	case page, ok = <-s.pages:
		return page, ok, false
	case <-deadline:
	case <-soft:
	case <-ctx.Done():
	}
	return channels.Page{}, false, true
}

// took gives back the room of a page that left the queue.
func (s *source) took(p channels.Page) { s.room.Release(weight(p)) }

// close ends the reading and waits for it.
func (s *source) close() {
	s.cancel()
	<-s.done
}

func weight(p channels.Page) int64 { return int64(min(max(p.Bytes, 1), aheadBytes)) }
