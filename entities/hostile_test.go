package entities

import (
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// hostile are names that would be statements if they were put into SQL as they
// are.
var hostile = []string{
	`x"; DROP TABLE victims; --`, `x'; DROP TABLE victims; --`, `a" = 1, "b`, `"`, `name) VALUES ('x'); DELETE FROM victims; --`,
	`$1`, `?`, `:named`, "tab\tand\nline", `%s`, `back\slash`, `{"json":1}`,
}

// TestHostileNamesAreColumnsOrNothing: a table may have such columns, and then
// they are columns like any other; a mapping that names one which the table does
// not have is refused.
func TestHostileNamesAreColumnsOrNothing(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec("CREATE TABLE victims (id integer PRIMARY KEY)", "INSERT INTO victims VALUES (1)")
		var decl []string
		var fields []mapping.Field
		for _, name := range hostile {
			decl = append(decl, quote(name)+" text")
			fields = append(fields, mapping.Field{Local: name, Remote: "f", Direction: mapping.ToLocal})
		}
		table := `odd"; DROP TABLE victims; --`
		h.exec("CREATE TABLE " + quote(table) + " (id " + h.pick("integer primary key", "integer generated always as identity primary key") + ", " + strings.Join(decl, ", ") + ")")
		tab, err := h.introspect(Spec{Name: "odd", Table: quote(table)})
		if err != nil {
			t.Fatal(err)
		}
		m, problems := mapping.Compile(mapping.Spec{Fields: fields, Match: [][]string{{hostile[0], hostile[1]}}}, tab.Column)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		b, err := tab.Bind(m, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		vals := make([]record.Value, len(fields))
		for i := range vals {
			vals[i] = record.T(hostile[i])
		}
		w := h.writer(b)
		res := h.apply(w, []Change{insert(0, "r0", vals...)}, nil)
		wantOutcomes(t, res, "done")
		row := h.load(b, res[0].Key)
		if len(row) != 1 {
			t.Fatalf("%d rows", len(row))
		}
		for i, v := range row[0].Values {
			if v.Text != hostile[i] {
				t.Errorf("column %q holds %q", hostile[i], v.Text)
			}
		}
		vals[2] = record.T("changed")
		wantOutcomes(t, h.apply(w, []Change{update(0, "r0", row[0], vals...)}, nil), "done")
		h.want("SELECT count(*) FROM victims", "1")
		h.want("SELECT count(*) FROM "+quote(table), "1")

		for _, name := range hostile {
			plain, err := h.introspect(Spec{Name: "victims", Table: "victims"})
			if err != nil {
				t.Fatal(err)
			}
			if m, problems := mapping.Compile(mapping.Spec{Fields: []mapping.Field{{Local: name, Remote: "f", Direction: mapping.ToLocal}}}, plain.Column); m != nil || len(problems) == 0 {
				t.Errorf("%q was taken for a column of victims", name)
			}
			if _, err := h.introspect(Spec{Name: "victims", Table: "victims", Key: []string{name}}); fault.CodeOf(err) != fault.CodeConfig {
				t.Errorf("%q as a key: %v", name, err)
			}
			if _, err := h.introspect(Spec{Name: "victims", Table: name}); fault.CodeOf(err) != fault.CodeConfig {
				t.Errorf("%q as a table: %v", name, err)
			}
		}
		h.want("SELECT count(*) FROM victims", "1")
	})
}
