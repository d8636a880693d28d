package store

import (
	"maps"
	"slices"
)

// normal gives the spec in the one form that is stored and compared.
func (s Spec) normal() Spec {
	if s.Kind == "" {
		s.Kind = KindSync
	}
	if s.Mode == "" {
		s.Mode = ModeIncremental
	}
	s.Connectors = slices.Clone(s.Connectors)
	slices.Sort(s.Connectors)
	s.Connectors = slices.Compact(s.Connectors)
	return s
}

// Covers reports whether a run does everything that req asks for, so that req
// may join it: the same kind; at least its connectors; full covers incremental;
// the window, the flags and the params equal or wider. Requests of named ids,
// dry runs and approved deletions never join.
func Covers(run, req Spec) bool {
	run, req = run.normal(), req.normal()
	return run.Kind == req.Kind &&
		run.Lane() == LaneMain && req.Lane() == LaneMain &&
		coversConnectors(run.Connectors, req.Connectors) &&
		coversMode(run, req) &&
		coversFlags(run.Flags, req.Flags) &&
		// What a param means only the channel type knows: none is "wider".
		maps.Equal(run.Params, req.Params)
}

func coversConnectors(run, req []string) bool {
	if len(run) == 0 {
		return true
	}
	if len(req) == 0 {
		return false
	}
	for _, c := range req {
		if _, ok := slices.BinarySearch(run, c); !ok {
			return false
		}
	}
	return true
}

// coversMode compares mode and window [start, end). An incremental run without
// a start begins at the watermark, which may lie before or after any given
// time: only the same kind of start compares. A full run without a start reads
// everything.
func coversMode(run, req Spec) bool {
	if run.Mode != ModeFull && req.Mode == ModeFull {
		return false
	}
	if run.End != nil && (req.End == nil || run.End.Before(*req.End)) {
		return false
	}
	if run.Start == nil {
		return run.Mode == ModeFull || req.Start == nil
	}
	return req.Start != nil && !run.Start.After(*req.Start)
}

func coversFlags(run, req Flags) bool {
	return (run.Force || !req.Force) && (!run.NoPush || req.NoPush) && (!run.NoPull || req.NoPull)
}
