package store_test

import (
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

func TestCovers(t *testing.T) {
	t.Parallel()
	at := func(h int) *time.Time {
		v := time.Date(2026, 1, 1, h, 0, 0, 0, time.UTC)
		return &v
	}
	full := func(s store.Spec) store.Spec { s.Mode = store.ModeFull; return s }
	flags := func(f store.Flags) store.Spec { return store.Spec{Flags: f} }
	all := store.Spec{}
	two := store.Spec{Connectors: []string{"b", "a"}}
	one := store.Spec{Connectors: []string{"a"}}
	for _, c := range []struct {
		name     string
		run, req store.Spec
		want     bool
	}{
		{"the same", all, all, true},
		{"spelt out", store.Spec{Kind: store.KindSync, Mode: store.ModeIncremental}, all, true},
		{"another kind", all, store.Spec{Kind: store.KindReverseSync}, false},
		{"all covers one", all, one, true},
		{"one does not cover all", one, all, false},
		{"two cover one", two, one, true},
		{"one does not cover two", one, two, false},
		{"any order", two, store.Spec{Connectors: []string{"a", "b", "a"}}, true},
		{"full covers incremental", full(all), all, true},
		{"incremental does not cover full", all, full(all), false},
		{"full covers a window", full(all), store.Spec{Start: at(1), End: at(2)}, true},
		{"the watermark does not cover a start", all, store.Spec{Start: at(1)}, false},
		{"a start does not cover the watermark", store.Spec{Start: at(1)}, all, false},
		{"a full start does not cover the watermark", full(store.Spec{Start: at(1)}), all, false},
		{"an earlier start", store.Spec{Start: at(1)}, store.Spec{Start: at(2)}, true},
		{"the same start", store.Spec{Start: at(1)}, store.Spec{Start: at(1)}, true},
		{"a later start", store.Spec{Start: at(2)}, store.Spec{Start: at(1)}, false},
		{"no end covers an end", store.Spec{Start: at(1)}, store.Spec{Start: at(1), End: at(2)}, true},
		{"an end does not cover none", store.Spec{Start: at(1), End: at(2)}, store.Spec{Start: at(1)}, false},
		{"a later end", store.Spec{End: at(3)}, store.Spec{End: at(2)}, true},
		{"an earlier end", store.Spec{End: at(2)}, store.Spec{End: at(3)}, false},
		{"force is wider", flags(store.Flags{Force: true}), all, true},
		{"without force", all, flags(store.Flags{Force: true}), false},
		{"no push is narrower", flags(store.Flags{NoPush: true}), all, false},
		{"push covers no push", all, flags(store.Flags{NoPush: true}), true},
		{"no pull is narrower", flags(store.Flags{NoPull: true}), all, false},
		{"pull covers no pull", all, flags(store.Flags{NoPull: true}), true},
		{"equal params", store.Spec{Params: map[string]string{"k": "v"}}, store.Spec{Params: map[string]string{"k": "v"}}, true},
		{"other params", store.Spec{Params: map[string]string{"k": "v"}}, store.Spec{Params: map[string]string{"k": "w"}}, false},
		{"params and none", store.Spec{Params: map[string]string{"k": "v"}}, all, false},
		{"none and params", all, store.Spec{Params: map[string]string{"k": "v"}}, false},
		{"no and empty params", all, store.Spec{Params: map[string]string{}}, true},
		{"remote ids", all, store.Spec{RemoteIDs: []string{"1"}}, false},
		{"the same ids", store.Spec{LocalIDs: []string{"1"}}, store.Spec{LocalIDs: []string{"1"}}, false},
		{"a run of ids", store.Spec{RemoteIDs: []string{"1"}}, all, false},
		{"dry runs", flags(store.Flags{DryRun: true}), flags(store.Flags{DryRun: true}), false},
		{"an approval", all, store.Spec{ApproveParked: 1}, false},
		{"approvals", store.Spec{ApproveParked: 1}, store.Spec{ApproveParked: 1}, false},
	} {
		if got := store.Covers(c.run, c.req); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
