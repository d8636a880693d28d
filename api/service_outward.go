package api

import (
	"context"
	"encoding/json"

	"github.com/tandem-sync/tandem/store"
)

// directions gives the direction of each connector of a channel's settings.
func directions(settings json.RawMessage) map[string]string {
	var v struct {
		Connectors []struct{ Name, Direction string }
	}
	out := map[string]string{}
	if json.Unmarshal(settings, &v) != nil {
		return out
	}
	for _, c := range v.Connectors {
		if out[c.Name] = c.Direction; c.Direction == "" {
			out[c.Name] = "to_local"
		}
	}
	return out
}

// outward tells where a connector's way to the remote stands.
func (s *Service) outward(ctx context.Context, tx *store.Tx, con store.Connector, st *ConnectorStatus) error {
	if st.Direction == "" {
		st.Direction = "to_local"
	}
	if !con.Outward {
		return nil
	}
	out := &OutwardStatus{}
	var err error
	if st.Conflicts, err = tx.CountConflicts(ctx, store.ConflictFilter{ConnectorID: con.ID, Open: true}); err != nil {
		return err
	}
	if out.Waiting, out.Oldest, err = tx.ConnectorWaits(ctx, con.ID); err != nil {
		return err
	}
	out.Oldest = utc(out.Oldest)
	if out.Echoes, out.NearMiss, err = tx.Echo(ctx, con.ID); err != nil {
		return err
	}
	passes, err := tx.Passes(ctx, con.ChannelID, 0)
	for _, p := range passes {
		if p.ConnectorID == con.ID {
			out.Round = &Round{StartedAt: p.StartedAt.UTC(), FinishedAt: utc(p.FinishedAt), Done: p.Done, Total: p.Total}
			break
		}
	}
	st.Outward = out
	return err
}

// captures adds how local changes are noticed. It looks at the users' tables, and
// a channel is shown whatever comes of that.
func (s *Service) captures(ctx context.Context, out *ChannelDetail) {
	d, err := s.desk()
	if err != nil {
		return
	}
	for i := range out.State {
		st := &out.State[i]
		if st.Outward == nil {
			continue
		}
		got, err := d.CaptureOf(ctx, out.entities[st.Connector])
		if err == nil {
			st.Outward.Capture = &got
		}
	}
}
