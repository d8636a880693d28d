package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/store"
)

// SyncRequest asks for a synchronization. Its JSON is the body of the message
// that other programs publish; version, type and channel may be left out where
// the address says them.
type SyncRequest struct {
	V          int               `json:"v,omitempty" doc:"Version of the message; 1 or left out"`
	Type       string            `json:"type,omitempty" doc:"sync, for an export reverse-sync, or left out"`
	Channel    string            `json:"channel,omitempty" doc:"As in the address, or left out"`
	ID         string            `json:"id,omitempty" maxLength:"200" doc:"At most one run per id in 30 days: repeating a request with it gives the first run"`
	Connectors []string          `json:"connectors,omitempty" maxItems:"100" doc:"Left out: all"`
	Mode       store.Mode        `json:"mode,omitempty" doc:"incremental (default) or full"`
	Start      string            `json:"start,omitempty" doc:"Only what changed at or after: RFC 3339, 2006-01-02 15:04:05 in UTC, or a duration ago (2h)"`
	End        string            `json:"end,omitempty" doc:"Only what changed before; written as start"`
	RemoteIDs  []RecordID        `json:"remote_ids,omitempty" doc:"Only these remote records"`
	LocalIDs   []RecordID        `json:"local_ids,omitempty" doc:"Only these local rows"`
	Params     map[string]string `json:"params,omitempty" doc:"Parameters for the channel type"`
	Flags      []string          `json:"flags,omitempty" doc:"dry_run, force, no_push, no_pull"`

	// Trigger says who asked; "" means api. It does not travel in the body.
	Trigger store.Trigger `json:"-"`
}

// RecordID is a record's id: a string, or an integer of any size, which is kept
// digit by digit.
type RecordID string

var integer = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

// UnmarshalJSON accepts a string or an integer.
func (id *RecordID) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*id = RecordID(s)
		return nil
	}
	if !integer.Match(b) {
		return fmt.Errorf("record id %.40s: want a string or an integer", b)
	}
	*id = RecordID(b)
	return nil
}

// Schema describes both forms.
func (RecordID) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{{Type: huma.TypeString}, {Type: huma.TypeInteger}}}
}

// maxIDs bounds the ids of one request.
const maxIDs = 100_000

func usage(format string, args ...any) error {
	return fault.New(fault.Permanent, fault.CodeUsage, "", format, args...)
}

// Spec turns the request into what its run does. now is the time that
// durations count from. Every contradiction is an error with code usage.
func (r SyncRequest) Spec(channel string, now time.Time) (store.Spec, error) {
	return r.SpecOf(store.KindSync, channel, now)
}

// SpecOf is Spec for a run of either kind.
func (r SyncRequest) SpecOf(kind store.Kind, channel string, now time.Time) (store.Spec, error) {
	s := store.Spec{Kind: kind, Connectors: r.Connectors, Mode: r.Mode, Params: r.Params}
	if err := r.checkEnvelope(kind, channel); err != nil {
		return s, err
	}
	switch s.Mode {
	case "":
		s.Mode = store.ModeIncremental
	case store.ModeIncremental, store.ModeFull:
	default:
		return s, usage("mode %q: want incremental or full", r.Mode)
	}
	var err error
	if s.Start, err = when("start", r.Start, now); err != nil {
		return s, err
	}
	if s.End, err = when("end", r.End, now); err != nil {
		return s, err
	}
	if s.RemoteIDs, err = ids("remote_ids", r.RemoteIDs); err != nil {
		return s, err
	}
	if s.LocalIDs, err = ids("local_ids", r.LocalIDs); err != nil {
		return s, err
	}
	if s.Flags, err = flags(r.Flags); err != nil {
		return s, err
	}
	return s, check(s)
}

func (r SyncRequest) checkEnvelope(kind store.Kind, channel string) error {
	switch {
	case r.V != 0 && r.V != 1:
		return usage("version %d of the message is not known; want 1", r.V)
	case r.Type != "" && r.Type != string(kind):
		return usage("type %q: want %s", r.Type, kind)
	case r.Channel != "" && r.Channel != channel:
		return usage("the body names channel %q, the address %q", r.Channel, channel)
	}
	return nil
}

func check(s store.Spec) error {
	windowed, targeted := s.Start != nil || s.End != nil, len(s.RemoteIDs)+len(s.LocalIDs) > 0
	switch {
	case s.Start != nil && s.End != nil && !s.Start.Before(*s.End):
		return usage("the window is empty: start %s is not before end %s", s.Start.Format(time.RFC3339), s.End.Format(time.RFC3339))
	case s.Kind == store.KindReverseSync && (s.Flags.NoPull || s.Flags.NoPush):
		return usage("no_pull and no_push do not go with an export")
	case targeted && windowed:
		return usage("record ids and a time window exclude each other")
	case targeted && s.Mode == store.ModeFull:
		return usage("record ids and a full run exclude each other")
	case s.Flags.NoPull && s.Flags.NoPush:
		return usage("no_pull and no_push together leave nothing to do")
	}
	return nil
}

func when(field, s string, now time.Time) (*time.Time, error) {
	if s == "" {
		return nil, nil //nolint:nilnil // no time is a value here
	}
	t, err := messages.ParseTime(s, now)
	if err != nil {
		return nil, usage("%s: %w", field, err)
	}
	t = t.UTC()
	return &t, nil
}

func ids(field string, in []RecordID) ([]string, error) {
	if len(in) > maxIDs {
		return nil, usage("%s: %d ids, at most %d in one request", field, len(in), maxIDs)
	}
	out := make([]string, 0, len(in))
	for i, id := range in {
		if id == "" {
			return nil, usage("%s[%d] is empty", field, i)
		}
		out = append(out, string(id))
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

func flags(names []string) (store.Flags, error) {
	var f store.Flags
	for _, n := range names {
		switch n {
		case "dry_run":
			f.DryRun = true
		case "force":
			f.Force = true
		case "no_push":
			f.NoPush = true
		case "no_pull":
			f.NoPull = true
		default:
			return f, usage("flag %s: want dry_run, force, no_push or no_pull", strconv.Quote(n))
		}
	}
	return f, nil
}
