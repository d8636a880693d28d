package api

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tandem-sync/tandem/fault"
	mask "github.com/tandem-sync/tandem/internal/redact"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/store"
)

// connectorOf names a connector across channels.
type connectorOf struct {
	channelID          int64
	channel, connector string
}

// retrier tries parked items again inside one transaction.
type retrier struct {
	s    *Service
	tx   *store.Tx
	byID map[connectorOf]bool // connectors that cannot read by id are false
	out  *ParkedDone

	groups   []connectorOf // in the order of their first item
	ids      map[connectorOf][]string
	nameless map[connectorOf]bool // has a record without an id

	outward []store.Connector // in the order of their first row
	keys    map[store.Connector][]string
}

// RetryParked tries one item again. A skipped one is no longer skipped by it.
func (s *Service) RetryParked(ctx context.Context, id int64) (Retried, error) {
	byID, err := s.readers(ctx, func(ctx context.Context, tx *store.Tx) ([]store.ParkedHead, error) {
		p, err := findParked(ctx, tx, id)
		return []store.ParkedHead{headOf(p)}, err
	})
	if err != nil {
		return Retried{}, err
	}
	var out ParkedDone
	err = s.write(ctx, "retry parked", func(ctx context.Context, tx *store.Tx) error {
		out = ParkedDone{}
		p, err := findParked(ctx, tx, id)
		switch {
		case err != nil:
			return err
		case p.Resolved == store.ResolvedSkipped && (isRecord(p.Kind) || p.Outward && p.Kind == store.ParkedUnknown):
			if err := tx.EndSkip(ctx, id); err != nil {
				return err
			}
		case p.Resolved != "":
			return doneWith(p)
		}
		r := &retrier{s: s, tx: tx, byID: byID, out: &out}
		if err := r.one(ctx, headOf(p)); err != nil {
			return err
		}
		return r.records(ctx, true)
	})
	if err != nil {
		return Retried{}, err
	}
	if s.fleet != nil {
		s.fleet.Kick()
	}
	got := Retried{Published: out.Published > 0, Note: strings.Join(out.Notes, "; ")}
	if len(out.Runs) > 0 {
		got.Run = &out.Runs[0]
	}
	return got, nil
}

// RetryChosen tries many items again.
func (s *Service) RetryChosen(ctx context.Context, c ParkedChoice) (ParkedDone, error) {
	var byID map[connectorOf]bool
	if c.Confirm != nil {
		var err error
		byID, err = s.readers(ctx, func(ctx context.Context, tx *store.Tx) ([]store.ParkedHead, error) {
			f, err := s.choice(ctx, tx, c)
			if err != nil {
				return nil, err
			}
			return tx.ParkedHeads(ctx, f)
		})
		if err != nil {
			return ParkedDone{}, err
		}
	}
	return s.chosen(ctx, "retry parked", c, func(ctx context.Context, tx *store.Tx, heads []store.ParkedHead, out *ParkedDone) error {
		r := &retrier{s: s, tx: tx, byID: byID, out: out}
		for _, h := range heads {
			if err := r.one(ctx, h); err != nil {
				if !refused(err) {
					return err
				}
				out.refuse(h.ID, err)
			}
		}
		return r.records(ctx, false)
	})
}

func isRecord(k store.ParkedKind) bool {
	return k == store.ParkedRecord || k == store.ParkedDuplicate || k == store.ParkedRefused
}

// readers finds out which connectors of the items read records by id. It looks
// at the configuration only, before the transaction that uses it.
func (s *Service) readers(ctx context.Context, items func(context.Context, *store.Tx) ([]store.ParkedHead, error)) (map[connectorOf]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, probeFor)
	defer cancel()
	var heads []store.ParkedHead
	err := s.read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		heads, err = items(ctx, tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	asks, ok := s.fleet.(ByID)
	out := map[connectorOf]bool{}
	for _, h := range heads {
		k := connectorOf{h.ChannelID, h.Channel, h.Connector}
		if _, known := out[k]; known || h.Outward || !isRecord(h.Kind) {
			continue
		}
		out[k] = true
		if ok {
			can, err := asks.ReadsByID(ctx, h.Channel, h.Connector)
			out[k] = can || err != nil // what is wrong with the channel is told by its run
		}
	}
	return out, nil
}

// one tries an item again; records are gathered for records.
func (r *retrier) one(ctx context.Context, h store.ParkedHead) error {
	if h.Outward && h.Kind != store.ParkedMassDelete && h.LocalID != "" {
		return r.gatherOut(ctx, h)
	}
	switch h.Kind {
	case store.ParkedMassDelete:
		return r.approve(ctx, h)
	case store.ParkedMessage:
		return r.message(ctx, h)
	case store.ParkedRecord, store.ParkedDuplicate, store.ParkedRefused:
		return r.gather(ctx, h)
	case store.ParkedUnknown:
	}
	return fault.New(fault.Permanent, CodeUnsupported, "", "a parked %s cannot be tried again by hand in this version", h.Kind)
}

func (r *retrier) approve(ctx context.Context, h store.ParkedHead) error {
	if err := notApproved(ctx, r.tx, h); err != nil {
		return err
	}
	spec := store.Spec{Kind: store.KindSync, Mode: store.ModeFull, Connectors: []string{h.Connector}, ApproveParked: h.ID}
	if h.Outward {
		spec.Kind, spec.Mode = store.KindReverseSync, store.ModeIncremental
	}
	return r.request(ctx, h.ChannelID, spec)
}

// received is a message as it came: one that is no JSON is kept as a text.
func received(payload json.RawMessage) []byte {
	var kept struct {
		Text  *string `json:"text"`
		Bytes *int    `json:"bytes"`
	}
	if json.Unmarshal(payload, &kept) == nil && kept.Text != nil && kept.Bytes != nil {
		return []byte(*kept.Text)
	}
	return payload
}

// message tries a message again that is valid now.
func (r *retrier) message(ctx context.Context, h store.ParkedHead) error {
	job, err := messages.Decode(received(h.Payload), r.s.clock.Now())
	if err != nil {
		return fault.New(fault.Permanent, fault.CodeConflict, "", "the message is still not valid: %w", err).
			WithHint("publish a corrected one, then `tandem parked skip` this one")
	}
	for k, v := range job.Params {
		if v == mask.Mask {
			return fault.New(fault.Permanent, fault.CodeConflict, "", "the value of its parameter %s is a secret that was not kept", k).
				WithHint("publish the message again from where it came")
		}
	}
	c, err := findChannel(ctx, r.tx, job.Channel)
	if err != nil {
		return err
	}
	if err := checkConnectors(ctx, r.tx, c, job.Connectors); err != nil {
		return err
	}
	if job.Run > 0 {
		err = r.again(ctx, h, job)
	} else {
		err = r.asks(ctx, c, job)
	}
	if err == nil {
		_, err = r.tx.ResolveAll(ctx, []int64{h.ID}, store.ResolvedRetried)
	}
	return err
}

// again publishes a message of our own that goes on with a run.
func (r *retrier) again(ctx context.Context, h store.ParkedHead, job messages.Job) error {
	run, err := findRun(ctx, r.tx, job.Run)
	if err != nil {
		return err
	}
	key := messages.KeySyncNow
	if job.Type == messages.TypeReverseSync {
		key = messages.KeyReverse
	}
	if err := r.tx.AddOutgoing(ctx, store.Outgoing{Key: key, Body: h.Payload}); err != nil {
		return err
	}
	r.out.Published++
	return r.show(ctx, run)
}

// asks does what a worker does with a message that asks for a run. Doing so here
// and not by the broker gives the run to whoever retries, also where no worker
// is left to take the message up.
func (r *retrier) asks(ctx context.Context, c store.Channel, job messages.Job) error {
	if !c.Enabled {
		return disabled(c.Name)
	}
	spec := store.Spec{
		Kind: store.Kind(job.Type), Connectors: job.Connectors, Mode: store.Mode(job.Mode),
		Start: job.Start, End: job.End, RemoteIDs: job.RemoteIDs, LocalIDs: job.LocalIDs, Params: job.Params,
	}
	if spec.Mode == "" {
		spec.Mode = store.ModeIncremental
	}
	var err error
	if spec.Flags, err = flags(job.Flags); err != nil {
		return err
	}
	run, _, repeated, err := r.tx.AddRequest(ctx, store.Request{ExternalID: job.ID, ChannelID: c.ID, Trigger: store.TriggerMessage, Spec: spec}, true)
	if err != nil {
		return err
	}
	if repeated {
		r.out.Notes = append(r.out.Notes, fmt.Sprintf("a message with the id %q was taken before; its run is %d", job.ID, run.ID))
	}
	return r.show(ctx, run)
}

func disabled(channel string) error {
	return fault.New(fault.Permanent, fault.CodeConflict, "", "channel %q is disabled", channel).
		WithHint("`tandem channels enable " + channel + "`")
}

// usable refuses items of channels that are disabled and of connectors that are
// not there any more.
func (r *retrier) usable(ctx context.Context, h store.ParkedHead) error {
	c, err := r.tx.Channel(ctx, h.ChannelID)
	if err != nil {
		return err
	}
	if !c.Enabled {
		return disabled(c.Name)
	}
	return checkConnectors(ctx, r.tx, c, []string{h.Connector})
}

// gatherOut notes a local row that is to be exported again.
func (r *retrier) gatherOut(ctx context.Context, h store.ParkedHead) error {
	k := store.Connector{ID: h.ConnectorID, ChannelID: h.ChannelID, Name: h.Connector}
	if r.keys == nil {
		r.keys = map[store.Connector][]string{}
	}
	if _, known := r.keys[k]; !known {
		if err := r.usable(ctx, h); err != nil {
			return err
		}
		r.outward = append(r.outward, k)
	}
	r.keys[k] = append(r.keys[k], h.LocalID)
	return nil
}

// reasonRetry is why a parked row is exported again.
const reasonRetry = "retried"

// exports asks for the rows that were gathered.
func (r *retrier) exports(ctx context.Context) error {
	for _, k := range r.outward {
		runs, err := r.tx.RequestExport(ctx, k, store.TriggerManual, reasonRetry, r.keys[k])
		if err != nil {
			return err
		}
		for _, run := range runs {
			if err := r.show(ctx, run); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *retrier) gather(ctx context.Context, h store.ParkedHead) error {
	k := connectorOf{h.ChannelID, h.Channel, h.Connector}
	if r.ids == nil {
		r.ids, r.nameless = map[connectorOf][]string{}, map[connectorOf]bool{}
	}
	if _, known := r.ids[k]; !known {
		if err := r.usable(ctx, h); err != nil {
			return err
		}
		r.groups = append(r.groups, k)
		r.ids[k] = []string{}
	}
	if h.RemoteID == "" {
		r.nameless[k] = true
	} else {
		r.ids[k] = append(r.ids[k], h.RemoteID)
	}
	return nil
}

// records asks for what was gathered: by id where the connector can, else, and
// for records that have no id, by a run that reads everything.
func (r *retrier) records(ctx context.Context, single bool) error {
	if err := r.exports(ctx); err != nil {
		return err
	}
	for _, k := range r.groups {
		ids := r.ids[k]
		slices.Sort(ids)
		ids = slices.Compact(ids)
		can, known := r.byID[k]
		full := known && !can
		if full {
			r.out.Notes = append(r.out.Notes, fmt.Sprintf("connector %s of %s cannot read single records, so a full run was asked for", k.connector, k.channel))
		} else if r.nameless[k] {
			full = true
			r.out.Notes = append(r.out.Notes, fmt.Sprintf("records of connector %s of %s have no id, so a full run was asked for", k.connector, k.channel))
		}
		if full {
			if err := r.request(ctx, k.channelID, store.Spec{Kind: store.KindSync, Mode: store.ModeFull, Connectors: []string{k.connector}}); err != nil {
				return err
			}
			if known && !can || single {
				continue
			}
		}
		runs, err := r.tx.RequestRecords(ctx, k.channelID, k.connector, store.TriggerManual, ids)
		if err != nil {
			return err
		}
		for _, run := range runs {
			if err := r.show(ctx, run); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *retrier) request(ctx context.Context, channelID int64, spec store.Spec) error {
	run, _, _, err := r.tx.AddRequest(ctx, store.Request{ChannelID: channelID, Trigger: store.TriggerManual, Spec: spec}, true)
	if err != nil {
		return err
	}
	return r.show(ctx, run)
}

func (r *retrier) show(ctx context.Context, run store.Run) error {
	one, err := r.s.show(ctx, r.tx, run)
	r.out.Runs = append(r.out.Runs, one)
	return err
}
