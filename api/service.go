package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/seal"
)

// Service is the Backend that answers from a database. It is safe for
// concurrent use.
type Service struct {
	db    *store.DB
	fleet Fleet
	clock clock.Clock
}

// NewService makes a Service. fleet may be nil where no worker runs in the
// process: then requests wait for one elsewhere and channels cannot be tested.
// clk nil means the machine's clock.
func NewService(db *store.DB, fleet Fleet, clk clock.Clock) *Service {
	if clk == nil {
		clk = clock.System{}
	}
	return &Service{db: db, fleet: fleet, clock: clk}
}

var _ Backend = (*Service)(nil)

// Ready reports whether the database answers and has this binary's schema.
func (s *Service) Ready(ctx context.Context) error { return s.db.CheckSchema(ctx) }

// Channels lists the channels by name.
func (s *Service) Channels(ctx context.Context) ([]Channel, error) {
	out := []Channel{}
	err := s.read(ctx, func(ctx context.Context, tx *store.Tx) error {
		out = out[:0]
		list, err := tx.Channels(ctx)
		if err != nil {
			return err
		}
		for _, c := range list {
			one, err := s.channel(ctx, tx, c)
			if err != nil {
				return err
			}
			out = append(out, one)
		}
		return nil
	})
	return out, err
}

func (s *Service) channel(ctx context.Context, tx *store.Tx, c store.Channel) (Channel, error) {
	out := Channel{
		Name: c.Name, Type: c.Type, Enabled: c.Enabled, ManagedBy: c.Managed, Revision: c.Revision,
		UpdatedAt: c.UpdatedAt.UTC(),
	}
	var err error
	if out.Connectors, err = connectorNames(ctx, tx, c.ID); err != nil {
		return out, err
	}
	if err := s.schedule(ctx, tx, c, &out); err != nil {
		return out, err
	}
	runs, err := tx.Runs(ctx, store.RunFilter{ChannelID: c.ID, Limit: 1})
	if err != nil || len(runs) == 0 {
		return out, err
	}
	last, err := s.show(ctx, tx, runs[0])
	out.LastRun = &last
	return out, err
}

func connectorNames(ctx context.Context, tx *store.Tx, channelID int64) ([]string, error) {
	list, err := tx.Connectors(ctx, channelID)
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(list))
	for _, c := range list {
		if !c.Retired {
			out = append(out, c.Name)
		}
	}
	return out, nil
}

// Channel gives one channel with its settings and where its connectors stand.
func (s *Service) Channel(ctx context.Context, name string) (ChannelDetail, error) {
	var out ChannelDetail
	err := s.read(ctx, func(ctx context.Context, tx *store.Tx) error {
		c, err := findChannel(ctx, tx, name)
		if err != nil {
			return err
		}
		out = ChannelDetail{State: []ConnectorStatus{}, entities: map[string]string{}}
		if out.Channel, err = s.channel(ctx, tx, c); err != nil {
			return err
		}
		if out.Settings, err = redact(c.Settings); err != nil {
			return err
		}
		if out.Revisions, err = revisions(ctx, tx, c.ID); err != nil {
			return err
		}
		if out.Breaker, err = tx.Breaker(ctx, c.ID); err != nil {
			return err
		}
		if out.Problem, err = tx.TokenProblem(ctx, c.ID); err != nil {
			return err
		}
		list, err := tx.Connectors(ctx, c.ID)
		if err != nil {
			return err
		}
		ways := directions(c.Settings)
		for _, con := range list {
			if con.Retired {
				continue
			}
			st := ConnectorStatus{Connector: con.Name, Direction: ways[con.Name]}
			if err := s.outward(ctx, tx, con, &st); err != nil {
				return err
			}
			if st.Links, err = tx.CountLinks(ctx, con.ID); err != nil {
				return err
			}
			at, _, ok, err := tx.Watermark(ctx, con.ID)
			if err != nil {
				return err
			}
			full, err := tx.FullRead(ctx, con.ID)
			if err != nil {
				return err
			}
			if ok && !at.IsZero() {
				st.Watermark = utc(&at)
			}
			if !full.IsZero() {
				st.FullAt = utc(&full)
			}
			out.State, out.entities[con.Name] = append(out.State, st), con.Entity
		}
		return nil
	})
	if err == nil {
		out.Operations = s.operations(ctx, name)
		s.captures(ctx, &out)
	}
	return out, err
}

// findChannel gives the channel; its not_found names the channels there are.
func findChannel(ctx context.Context, tx *store.Tx, name string) (store.Channel, error) {
	c, err := tx.ChannelByName(ctx, name)
	if fault.CodeOf(err) != fault.CodeNotFound {
		return c, err
	}
	list, lerr := tx.Channels(ctx)
	if lerr != nil {
		return c, errors.Join(err, lerr)
	}
	hint := "no channel is stored yet; `tandem apply` stores those of tandem.yaml"
	if len(list) > 0 {
		names := make([]string, len(list))
		for i, k := range list {
			names[i] = k.Name
		}
		hint = "known channels: " + strings.Join(names, ", ")
	}
	return c, fault.New(fault.Permanent, fault.CodeNotFound, "", "no channel %q", name).WithHint(hint)
}

// redact replaces every sealed secret.
func redact(settings json.RawMessage) (json.RawMessage, error) {
	var v any
	dec := json.NewDecoder(strings.NewReader(string(settings)))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("stored settings: %w", err)
	}
	return json.Marshal(hide(v))
}

func hide(v any) any {
	switch v := v.(type) {
	case string:
		if seal.IsSealed(v) {
			return "(secret)"
		}
	case map[string]any:
		for k, m := range v {
			v[k] = hide(m)
		}
	case []any:
		for i, m := range v {
			v[i] = hide(m)
		}
	}
	return v
}

// TestChannel tries the channel's remote step by step.
func (s *Service) TestChannel(ctx context.Context, name string) (TestResult, error) {
	err := s.read(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := findChannel(ctx, tx, name)
		return err
	})
	if err != nil {
		return TestResult{}, err
	}
	if s.fleet == nil {
		return TestResult{}, fault.New(fault.Permanent, fault.CodeUnreachable, "", "no worker in this process to test the channel with")
	}
	stages, err := s.fleet.TestChannel(ctx, name)
	if err != nil {
		return TestResult{}, err
	}
	out := TestResult{Channel: name, OK: true, Stages: stages}
	for _, st := range stages {
		out.OK = out.OK && st.OK
	}
	if out.Stages == nil {
		out.Stages = []TestStage{}
	}
	return out, nil
}
