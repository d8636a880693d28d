package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Row is one row of the local table: the remote id it stands for and its values.
type Row struct {
	RemoteID string
	Fields   Fields
}

// Result is the outcome of a comparison.
type Result struct {
	Remote      int      `json:"remote"`      // good contacts on the remote
	Local       int      `json:"local"`       // rows in the local table
	Equal       int      `json:"equal"`       // pairs that agree in every field
	Differences []string `json:"differences"` // one sentence each; empty when the sides agree
}

// Agree reports whether every good remote contact is there once and equal,
// nothing else is there, and exactly the broken ones are parked.
func (r Result) Agree() bool { return len(r.Differences) == 0 }

// Compare holds the remote's good contacts against the local rows, and the
// broken ones against the remote ids that are parked.
func Compare(good map[string]Fields, rows []Row, broken map[string]string, parked []string) Result {
	res := Result{Remote: len(good), Local: len(rows), Differences: []string{}}
	note := func(format string, args ...any) {
		res.Differences = append(res.Differences, fmt.Sprintf(format, args...))
	}
	seen := make(map[string]bool, len(rows))
	for _, row := range rows {
		want, ok := good[row.RemoteID]
		switch {
		case seen[row.RemoteID]:
			note("%s is there twice", row.RemoteID)
		case !ok:
			note("%s is in the local table, but the remote does not have it", row.RemoteID)
		case want != row.Fields:
			note("%s differs: %s", row.RemoteID, difference(want, row.Fields))
		default:
			res.Equal++
		}
		seen[row.RemoteID] = true
	}
	for _, id := range slices.Sorted(maps.Keys(good)) {
		if !seen[id] {
			note("%s is missing in the local table", id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(broken)) {
		if !slices.Contains(parked, id) {
			note("%s is broken (%s) but not parked", id, broken[id])
		}
	}
	for _, id := range parked {
		if _, ok := broken[id]; !ok {
			note("%s is parked but not broken", id)
		}
	}
	return res
}

// difference names the fields that are not equal.
func difference(remote, local Fields) string {
	var out []string
	for _, f := range []struct{ name, remote, local string }{
		{"email", remote.Email, local.Email},
		{"name", remote.Name, local.Name},
		{"phone", remote.Phone, local.Phone},
		{"city", remote.City, local.City},
		{"birthday", remote.Birthday, local.Birthday},
		{"orders", remote.Orders, local.Orders},
	} {
		if f.remote != f.local {
			out = append(out, fmt.Sprintf("%s is %q there and %q here", f.name, f.remote, f.local))
		}
	}
	return strings.Join(out, ", ")
}
