package pass

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// batch is consecutive pages that are written in one transaction.
type batch struct {
	no     int64
	recs   []record.Record
	readAt int64 // when the oldest of its reads began, Unix ms
	next   position
	total  *int64
	absent bool // its tombstones are candidates for removal
	before int  // records that the run had written before it

	// What fold made of recs: the records to deal with, and where each id is
	// among them.
	folded []*record.Record
	at     map[string]int
}

// list reads the listing batch by batch.
func (s *slice) list(ctx context.Context) (bool, error) {
	reader, err := s.C.Remote.Reader(ctx, s.readRequest())
	if err != nil {
		return false, err
	}
	src := startSource(ctx, reader, s.now)
	defer src.close()
	at := s.pos
	for {
		b, err := s.assemble(ctx, src, at)
		if b != nil {
			at = b.next
			if e := s.pipe.submit(ctx, b); e != nil {
				return false, e
			}
			if s.C.Limit > 0 {
				if e := s.pipe.flush(ctx); e != nil {
					return false, e
				}
				if at = b.next; at.Limited {
					return true, s.limited(ctx)
				}
			}
		}
		if err != nil {
			if e := s.pipe.flush(ctx); e != nil {
				return false, e
			}
			if errors.Is(err, io.EOF) {
				return true, s.listed(ctx)
			}
			return false, err
		}
		if s.expired() {
			return false, s.pipe.flush(ctx)
		}
	}
}

func (s *slice) readRequest() channels.ReadRequest {
	req := channels.ReadRequest{
		Fields: s.paths,
		From:   s.pos.Cursor,
		Params: s.in.Run.Spec.Params,
	}
	if s.pos.Since != nil {
		req.Since = *s.pos.Since
	}
	if s.in.Run.Spec.End != nil {
		req.Until = *s.in.Run.Spec.End
	}
	return req
}

// assemble collects pages into the next batch. It returns a batch, an error, or
// both: what was read before an error is still written. Neither: the slice is
// to end, and no page is there yet.
func (s *slice) assemble(ctx context.Context, src *source, at position) (*batch, error) {
	var b *batch
	var deadline <-chan time.Time
	bytes := 0
	for {
		page, ok, stop := src.next(ctx, deadline, s.in.Soft)
		switch {
		case stop && ctx.Err() != nil:
			return nil, ctx.Err()
		case stop:
			return b, nil
		}
		if !ok {
			return b, src.err
		}
		if b == nil {
			b = &batch{next: at, before: at.Changed, readAt: page.FetchStarted.UnixMilli(), absent: true}
			t := time.NewTimer(batchWait)
			defer t.Stop()
			deadline = t.C
		}
		s.addPage(b, page)
		src.took(page)
		bytes += page.Bytes
		if len(b.recs) >= s.most || bytes >= batchBytes {
			s.lastLen = len(b.recs)
			return b, nil
		}
	}
}

func (s *slice) addPage(b *batch, page channels.Page) {
	s.scope(page.Records)
	s.measure(page)
	if b.recs == nil && s.lastLen <= len(page.Records) {
		b.recs = page.Records
	} else {
		if b.recs == nil { // most likely as many as last time
			b.recs = make([]record.Record, 0, s.lastLen)
		}
		b.recs = append(b.recs, page.Records...)
	}
	b.readAt = min(b.readAt, page.FetchStarted.UnixMilli())
	b.next.Cursor = page.Next
	if b.next.Start == nil && !page.RemoteNow.IsZero() {
		// The Date header was made while the request was answered and has whole
		// seconds: the start is before both, also where our clock was set back while
		// the answer was on its way.
		start := page.RemoteNow.Add(-max(s.now().Sub(page.FetchStarted), 0) - time.Second)
		b.next.Start = &start
	}
	if page.Total >= 0 {
		total := page.Total
		b.total = &total
		switch {
		case b.next.Total == nil:
			b.next.Total = &total
		case *b.next.Total != total && !page.Listed:
			b.next.Drifted = true
		}
	}
}

// listed decides what follows the end of a listing. A listing by page or
// offset during which records moved is read once more before its watermark or
// its silence counts.
func (s *slice) listed(ctx context.Context) error {
	caps := s.C.Remote.Capabilities()
	next := s.pos
	next.Cursor = nil
	drifted := s.pos.Drifted || s.twice.Load()
	if caps.Drifts && drifted && !s.pos.Repeated && !s.dry() { // a preview moves no watermark
		next.Repeated, next.Drifted, next.Total = true, false, nil
		return s.advance(ctx, next, nil)
	}
	next.Stage = stageGuard
	if _, ok := s.C.Remote.(channels.Getter); ok && s.pos.Full && caps.Enumerates && !s.windowed() {
		next.Stage = stageSweep
	}
	return s.advance(ctx, next, nil)
}

// limitTo leaves out what goes beyond the connector's limit of records per run.
// It is not lost: the watermark stays, so the next run reads it again.
func (s *slice) limitTo(b *batch, p *plan) {
	if s.C.Limit <= 0 {
		return
	}
	b.next.Changed, b.next.Limited = b.before, false
	left := map[string]bool{}
	p.changes = slices.DeleteFunc(p.changes, func(c entities.Change) bool {
		if c.Op == entities.OpLink && !c.NewLink {
			return false
		}
		if b.next.Changed == s.C.Limit {
			it := &p.items[c.N]
			if !it.silent {
				p.add.Skipped++
			}
			left[c.Key] = true
			return true
		}
		b.next.Changed++
		return false
	})
	b.next.Limited = b.next.Changed == s.C.Limit
	p.tell = slices.DeleteFunc(p.tell, func(k string) bool { return left[k] })
	p.disputed = slices.DeleteFunc(p.disputed, func(c store.Conflict) bool { return left[c.LocalKey] })
}

// limited ends a slice that has reached the connector's limit.
func (s *slice) limited(ctx context.Context) error {
	next := s.pos
	next.Stage, next.Cursor = stageEnd, nil
	return s.advance(ctx, next, func(ctx context.Context, tx *store.Tx) error {
		return tx.DropCandidates(ctx, s.candidates())
	})
}

// watermark is the time from which the next incremental run reads, once this
// run is complete. Without a remote clock, ours is the best there is.
func (s *slice) watermark(ctx context.Context, tx *store.Tx) error {
	if s.windowed() || s.targeted() || s.dry() || s.in.Run.Spec.ApproveParked > 0 {
		return nil
	}
	start := s.pos.Start
	if start == nil {
		start = s.in.Run.StartedAt
	}
	if start == nil {
		return nil
	}
	if err := tx.SetWatermark(ctx, s.C.ID, start.Add(-s.C.Overlap), s.pos.Full); err != nil {
		return err
	}
	if began := s.in.Run.StartedAt; s.pos.Full && began != nil {
		return tx.NoteFullRead(ctx, s.C.ID, *began)
	}
	return nil
}
