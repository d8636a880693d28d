package workers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/jitter"
	mask "github.com/tandem-sync/tandem/internal/redact"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/store"
)

// processor deals with deliveries: a person's or program's request becomes a
// run, a run becomes slices, a slice is worked on. What became of a delivery is
// booked in the database; the broker only learns that it is done.
type processor struct {
	cfg    Config
	opener *Opener
	kick   func()
	soft   <-chan struct{}
	stir   *stir
	busy   busy // deliveries of the reverse queue under way
}

// giveBack bounds the pause before an unhandled message goes back to the
// broker: only an unreachable database causes it, and a redelivery must not
// become a hot loop.
const (
	giveBackLow  = 5 * time.Second
	giveBackHigh = 15 * time.Second
)

// Handle deals with one delivery. nil acks it; an error gives it back untouched.
func (p *processor) Handle(ctx context.Context, d messages.Delivery) error {
	if d.Queue == messages.QueueReverse {
		defer p.busy.in()()
	}
	err := p.handle(ctx, d)
	if err == nil {
		return yield.Point(ctx, "message.before_ack")
	}
	if ctx.Err() == nil {
		p.cfg.Logger.Warn("a message could not be dealt with; it goes back to the queue", zap.String("queue", d.Queue), zap.Error(err))
		_ = p.cfg.Clock.Sleep(ctx, jitter.Between(ctx, giveBackLow, giveBackHigh)) //nolint:errcheck // ended early: give it back now
	}
	return err
}

func (p *processor) handle(ctx context.Context, d messages.Delivery) error {
	if err := yield.Point(ctx, "message.received"); err != nil {
		return err
	}
	job, err := messages.Decode(d.Body, p.cfg.Clock.Now())
	if err != nil {
		return p.reject(ctx, d, err)
	}
	switch {
	case job.Slice > 0:
		return p.slice(ctx, job.Slice)
	case job.Run > 0:
		return p.start(ctx, job.Run)
	}
	err = p.request(ctx, job)
	var bad *messages.Rejected
	if errors.As(err, &bad) {
		return p.reject(ctx, d, err)
	}
	return err
}

// reject keeps a bad message in the ledger and as a copy on the dead queue. The
// copy comes second: doubled is better than lost.
func (p *processor) reject(ctx context.Context, d messages.Delivery, err error) error {
	var bad *messages.Rejected
	if !errors.As(err, &bad) {
		return err
	}
	item := store.Parked{
		Kind: store.ParkedMessage, Channel: channelOf(d.Body), Reason: bad.Reason, Message: bad.Error(),
		RemoteID: d.ID, Payload: mask.JSON(bodyPayload(d.Body)),
	}
	e := p.cfg.DB.Write(ctx, "park.message", func(ctx context.Context, tx *store.Tx) error {
		if d.Redelivered {
			if had, err := parkedBefore(ctx, tx, item); err != nil || had {
				return err
			}
		}
		_, err := tx.Park(ctx, []store.Parked{item})
		return err
	})
	if e != nil {
		return e
	}
	p.cfg.Logger.Warn("a message was refused and parked", zap.String("reason", bad.Reason), zap.String("detail", bad.Detail))
	return p.cfg.Broker.PublishDead(ctx, d.Body, bad.Reason)
}

// parkedBefore reports whether a message that comes again is kept already: the
// dead queue may be full for a long time, and the copy for it comes second.
func parkedBefore(ctx context.Context, tx *store.Tx, item store.Parked) (bool, error) {
	list, err := tx.ListParked(ctx, store.ParkedFilter{Kind: item.Kind, Reason: item.Reason, Open: true})
	return slices.ContainsFunc(list, func(p store.Parked) bool { return bytes.Equal(p.Payload, item.Payload) }), err
}

// channelOf reads the channel a bad message may name, for the ledger only.
func channelOf(body []byte) string {
	var m struct {
		Channel string `json:"channel"`
	}
	if len(body) > 64<<10 || json.Unmarshal(body, &m) != nil || len(m.Channel) > 200 {
		return ""
	}
	return m.Channel
}

// bodyPayload keeps a message for a person: its beginning, as JSON text.
func bodyPayload(body []byte) json.RawMessage {
	const most = 4 << 10
	if len(body) <= most && json.Valid(body) {
		return append(json.RawMessage(nil), body...)
	}
	b, err := json.Marshal(map[string]any{"text": string(body[:min(len(body), most)]), "bytes": len(body)})
	if err != nil {
		return nil
	}
	return b
}

// request turns a message from outside into a request and its run.
func (p *processor) request(ctx context.Context, job messages.Job) error {
	repeated := false
	err := p.cfg.DB.Write(ctx, "request", func(ctx context.Context, tx *store.Tx) error {
		ch, err := tx.ChannelByName(ctx, job.Channel)
		if fault.CodeOf(err) == fault.CodeNotFound {
			return &messages.Rejected{Reason: "unknown_channel", Detail: fmt.Sprintf("no channel %q", job.Channel)}
		}
		if err != nil {
			return err
		}
		if err := knownConnectors(ctx, tx, ch.ID, job.Connectors); err != nil {
			return err
		}
		_, _, repeated, err = tx.AddRequest(ctx, store.Request{
			ExternalID: job.ID, ChannelID: ch.ID, Trigger: store.TriggerMessage, Spec: specOf(job),
		}, true)
		return err
	})
	if err == nil && !repeated {
		p.kick()
	}
	if errors.Is(err, store.ErrCommitUnknown) && job.ID == "" {
		// Perhaps committed. A second run of the same kind joins the first or
		// follows it; the state it leaves is the same.
		return fault.Wrap(fault.Retryable, "", "request", err)
	}
	return err
}

func knownConnectors(ctx context.Context, tx *store.Tx, channelID int64, names []string) error {
	if len(names) == 0 {
		return nil
	}
	known, err := tx.Connectors(ctx, channelID)
	if err != nil {
		return err
	}
	have := map[string]bool{}
	for _, c := range known {
		have[c.Name] = !c.Retired
	}
	for _, n := range names {
		if !have[n] {
			return &messages.Rejected{Reason: "unknown_connector", Detail: fmt.Sprintf("no connector %q", n)}
		}
	}
	return nil
}

func specOf(job messages.Job) store.Spec {
	s := store.Spec{
		Kind: store.Kind(job.Type), Connectors: job.Connectors, Mode: store.Mode(job.Mode),
		Start: job.Start, End: job.End, RemoteIDs: job.RemoteIDs, LocalIDs: job.LocalIDs, Params: job.Params,
	}
	if s.Mode == "" {
		s.Mode = store.ModeIncremental
	}
	for _, f := range job.Flags {
		switch f {
		case "dry_run":
			s.Flags.DryRun = true
		case "force":
			s.Flags.Force = true
		case "no_push":
			s.Flags.NoPush = true
		case "no_pull":
			s.Flags.NoPull = true
		}
	}
	return s
}
