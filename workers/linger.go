package workers

import (
	"context"
	"time"

	"github.com/tandem-sync/tandem/store"
)

// A run that local changes asked for waits a moment for the next ones when it has
// sent all there are: the way through the queues takes longer than all the rest
// of an export. It is asked for by a signal where the change was taken up in this
// process, else it looks.
const (
	lingerFor  = 150 * time.Millisecond
	lingerLook = 10 * time.Millisecond
	// fetchBatch is how many changes a slice takes up at a time beside what it
	// exports. More of them are a bulk change, which the relay is better at.
	fetchBatch = 256
)

// lingerer is the ear of a slice that exports local changes: it hears of the next
// ones, waits for them and, where the relay works in this process, takes them up
// by itself, in the transaction that claims them anyhow.
type lingerer struct {
	p         *processor
	connector int64
	entity    string
	most      time.Duration // how long it waits for the next change
	ear       *ear
	seen      int64     // how many offers it has followed
	until     time.Time // it waits until then; zero: it has just had something
}

// lingerer begins to listen; leave ends that.
func (p *processor) lingerer(connectorID int64, entity string, most time.Duration) (l *lingerer, leave func()) {
	l = &lingerer{p: p, connector: connectorID, entity: entity, most: most}
	var gone func()
	l.ear, gone = p.stir.listen(connectorID, p.cfg.Roles.Relay && !p.cfg.Waited)
	return l, func() {
		gone()
		if l.ear.offers.Load() != l.seen {
			p.stir.look() // it did not come to that
		}
	}
}

// more waits for rows of the connector to become due, or for changes to take up,
// and reports whether there are any. While every slot is taken it does not wait:
// another channel may need this one.
func (l *lingerer) more(ctx context.Context) (bool, error) {
	p := l.p
	if l.until.IsZero() {
		l.until = p.cfg.Clock.Now().Add(l.most)
	}
	for {
		has := l.ear.offers.Load() != l.seen
		if !has {
			err := p.cfg.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
				has, err = tx.HasDue(ctx, l.connector)
				return err
			})
			if err != nil {
				return false, err
			}
			if has {
				l.until = time.Time{}
			}
		}
		left := l.until.Sub(p.cfg.Clock.Now())
		if has && (l.until.IsZero() || left > 0) {
			return true, nil
		}
		if left <= 0 || int(p.busy.Load()) >= p.cfg.ReverseSlots {
			return false, nil
		}
		if ok, err := l.wait(ctx, left); !ok {
			return false, err
		}
	}
}

// wait waits for a signal, or until it is time to look; false says that the
// slice should end.
func (l *lingerer) wait(ctx context.Context, left time.Duration) (bool, error) {
	if !l.p.cfg.Roles.Relay {
		left = min(left, lingerLook)
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-l.ear.bell:
	case <-t.C:
	case <-l.p.soft:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return true, nil
}

// fetch takes up the changes that wait for the connector, if it was told that
// there are any. taken, where it is not nil, has to be called when the transaction
// has been committed.
//
// No run is asked for them: this one is about to export them, and should it end
// before it does, the sweeper finds them due.
func (l *lingerer) fetch(ctx context.Context, tx *store.Tx) (taken func(), err error) {
	offers := l.ear.offers.Load()
	if offers == l.seen {
		return nil, nil
	}
	done, others, err := tx.FetchChanges(ctx, l.entity, l.connector, fetchBatch, changesDebounce, changesMost)
	if err != nil {
		return nil, err
	}
	for connector, echoes := range done.Suppressed {
		if err := tx.AddEcho(ctx, connector, echoes, 0); err != nil {
			return nil, err
		}
	}
	return func() {
		l.seen = offers
		if len(done.Touched) > 0 {
			l.until = time.Time{}
		}
		if others || done.Taken == 0 || done.Taken == fetchBatch {
			l.p.stir.look()
		}
	}, nil
}
