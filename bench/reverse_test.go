package main

import (
	"database/sql"
	"testing"

	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// The hand-written loop must find exactly what changed, and leave a base behind
// that Tandem can read.
func TestIdealExportFindsWhatChanged(t *testing.T) {
	t.Parallel()
	c := hubContact(3)
	base := make([]record.Value, len(hubProperties))
	row := exportRow{}
	for i, name := range hubProperties {
		base[i] = record.Value{Kind: record.Text, Text: c[name]}
		row.fields[i] = sql.NullString{String: c[name], Valid: true}
	}
	base[5].Kind, base[6].Kind = record.Number, record.Bool
	row.base = mapping.EncodeBase(base, base)
	if err := row.diff(); err != nil {
		t.Fatal(err)
	}
	if len(row.body) > 0 || row.next != row.base {
		t.Fatalf("nothing changed, and it would send %s and keep %s, not %s", row.body, row.next, row.base)
	}
	row.fields[3].String, base[3].Text = `+49 "30"`, `+49 "30"`
	if err := row.diff(); err != nil {
		t.Fatal(err)
	}
	if want := `"phone":"+49 \"30\""`; string(row.body) != want || row.next != mapping.EncodeBase(base, base) {
		t.Fatalf("it would send %s, not %s, and keep %s, not %s", row.body, want, row.next, mapping.EncodeBase(base, base))
	}
}
