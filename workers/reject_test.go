package workers

import (
	"context"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/store"
)

// fullDead is a broker whose dead queue takes nothing for some time.
type fullDead struct {
	messages.Broker
	refuses, copies int
}

func (b *fullDead) PublishDead(context.Context, []byte, string) error {
	if b.refuses > 0 {
		b.refuses--
		return fault.New(fault.Retryable, "broker_refused", "", "full")
	}
	b.copies++
	return nil
}

// TestRefusedMessageIsKeptOnce: a bad message comes again until the dead queue
// takes its copy, and is one item all the while; the same text published anew is
// another one.
func TestRefusedMessageIsKeptOnce(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		broker := &fullDead{refuses: 2}
		cfg := s.config(s.db, "worker")
		cfg.Broker = broker
		cfg.setDefaults()
		p := &processor{cfg: cfg}
		for _, body := range []string{`{"v":9,"type":"sync","channel":"crm","params":{"password":"hunter2!"}}`, "no JSON"} {
			before := len(s.parked())
			for try := range 4 {
				// The first delivery, two redeliveries, and a message of its own.
				err := p.handle(s.t.Context(), messages.Delivery{Body: []byte(body), Redelivered: try == 1 || try == 2})
				if refused := try < 2 && before == 0; refused != (err != nil) {
					s.t.Errorf("try %d of %s: %v", try, body, err)
				}
				want := before + 1
				if try == 3 {
					want++
				}
				if list := s.parked(); len(list) != want || list[0].Kind != store.ParkedMessage {
					s.t.Errorf("after try %d of %s: %d items, want %d", try, body, len(list), want)
				}
			}
		}
		if broker.copies != 6 {
			s.t.Errorf("%d copies", broker.copies)
		}
	})
}
