package entities

import (
	"context"
	"maps"
	"testing"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// TestTouched: a column that nobody writes for us tells by its default whether a
// row was touched; one that is made anew for each row tells nothing.
func TestTouched(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec(h.pick(
			`CREATE TABLE things (id integer PRIMARY KEY, email text, "No te" text DEFAULT 'it''s mine', n integer DEFAULT 0, r real NOT NULL DEFAULT 1.5, plain text,
				made text DEFAULT CURRENT_TIMESTAMP, rnd integer DEFAULT (abs(random())), twice integer AS (n * 2), kind text, level integer)`,
			`CREATE TABLE things (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text, "No te" varchar(20) DEFAULT 'it''s mine', n integer DEFAULT 0, r numeric(6,2) NOT NULL DEFAULT 1.5,
				plain json, made timestamptz DEFAULT now(), rnd integer DEFAULT floor(random() * 100), twice integer GENERATED ALWAYS AS (n * 2) STORED, kind text, level integer)`,
		))
		table, err := h.introspect(Spec{Name: "things", Table: "things"})
		if err != nil {
			t.Fatal(err)
		}
		m, problems := mapping.Compile(mapping.Spec{
			Fields:   []mapping.Field{{Local: "email", Remote: "email", Direction: mapping.ToLocal}},
			SetLocal: map[string]record.Value{"kind": record.T("new"), "level": record.N("3")},
		}, table.Column)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		cols, _ := m.SetLocal()
		b, err := table.Bind(m, "", cols)
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			h.exec("INSERT INTO things (email, kind, level) VALUES ('a@x.org', 'new', 3)")
		}
		h.exec(
			"UPDATE things SET email = 'b@x.org', made = NULL, rnd = 7 WHERE id = 2", // mapped, or made anew
			`UPDATE things SET "No te" = NULL WHERE id = 3`, "UPDATE things SET n = 1 WHERE id = 4", "UPDATE things SET plain = '{}' WHERE id = 5",
			"UPDATE things SET kind = 'old' WHERE id = 6", "UPDATE things SET level = NULL WHERE id = 7", "UPDATE things SET r = 1.50, level = 3 WHERE id = 8",
		)
		var got map[string]string
		if err := h.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) (err error) {
			got, err = b.Touched(ctx, tx, []string{"1", "2", "3", "4", "5", "6", "7", "8", "99"})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"3": "No te", "4": "n", "5": "plain", "6": "kind", "7": "level"}
		if !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}
