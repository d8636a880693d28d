package workers

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/channels"
	_ "github.com/tandem-sync/tandem/channels/all" // the types of the files below
	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/seal"
)

// planFile has two secrets, and a table that applying makes.
const planFile = `
network: {allow: [127.0.0.0/8]}
entities:
  contacts: {table: contacts, key: id, create: {id: integer primary key, email: text, last: text, born: date}}
channels:
  - name: crm
    type: rest
    transport: {base_url: "http://127.0.0.1:9", auth: {type: basic, username: u, password: "CANARY-1"}, headers: {X-A: "CANARY-2"}}
    schedule: "off"
    connectors:
      - name: contacts
        entity: contacts
        match: [[email], [last, born]]
        remote: {list: {path: /c, records: items}}
        mapping: [{local: email, remote: email}, {local: last, remote: last}, {local: born, remote: born}]
`

// planWorld is a migrated database with a key.
type planWorld struct {
	*testing.T
	db   *store.DB
	keys *seal.Keyring
}

func onBoth(t *testing.T, fn func(w *planWorld)) {
	t.Helper()
	t.Parallel()
	for _, d := range []store.Dialect{store.SQLite, store.Postgres} {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			url := "sqlite:" + filepath.Join(t.TempDir(), "t.db")
			if d == store.Postgres {
				url = testenv.Postgres(t)
			}
			db, err := store.Open(t.Context(), store.Config{URL: url})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
			w := &planWorld{T: t, db: db, keys: newRing(t)}
			if err = db.Migrate(t.Context()); err == nil {
				err = db.CheckKey(t.Context(), w.keys)
			}
			if err != nil {
				t.Fatal(err)
			}
			fn(w)
		})
	}
}

func newRing(t *testing.T) *seal.Keyring {
	t.Helper()
	ring, err := seal.New(seal.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func (w *planWorld) parse(text string) *config.File {
	w.Helper()
	f, ps := config.Parse("tandem.yaml", []byte(text), func(string) (string, bool) { return "", false })
	if ps = ps.And(f.Check(channels.Default)); len(ps) > 0 {
		w.Fatal(ps)
	}
	return f
}

// plan gives the items in words: "+ entity contacts", with fields.
func (w *planWorld) plan(f *config.File, opts PlanOptions) []string {
	w.Helper()
	items, err := MakePlan(w.Context(), w.db, w.keys, channels.Default, f, opts)
	if err != nil {
		w.Fatal(err)
	}
	var out []string
	for _, p := range items {
		fields := make([]string, len(p.Fields))
		for i, c := range p.Fields {
			fields[i] = fmt.Sprintf("%s:%s>%s", c.Field, c.Old, c.New)
		}
		out = append(out, strings.Join(strings.Fields(p.Action+" "+p.Kind+" "+p.Name+" "+p.SQL+" "+strings.Join(fields, " ")), " "))
	}
	if text := strings.Join(out, "\n"); strings.Contains(text, "CANARY") {
		w.Fatalf("a secret is shown:\n%s", text)
	}
	return out
}

func (w *planWorld) apply(f *config.File) {
	w.Helper()
	if _, err := Apply(w.Context(), w.db, w.keys, channels.Default, f); err != nil {
		w.Fatal(err)
	}
}

// sealed gives the sealed fields of crm as they are stored now.
func (w *planWorld) sealed() (fields map[string]string, revision int64) {
	w.Helper()
	err := w.db.Read(w.Context(), func(ctx context.Context, tx *store.Tx) error {
		c, err := tx.ChannelByName(ctx, "crm")
		if err != nil {
			return err
		}
		if strings.Contains(string(c.Settings), "CANARY") {
			w.Fatalf("a secret is stored in clear: %s", c.Settings)
		}
		revision = c.Revision
		fields, err = config.SealedFields(c.Settings)
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return fields, revision
}

// withoutWanted leaves out the wanted indexes.
func withoutWanted(items []string) []string {
	return slices.DeleteFunc(slices.Clone(items), func(s string) bool { return strings.HasPrefix(s, PlanWant) })
}

func TestPlanThenApply(t *testing.T) {
	onBoth(t, func(w *planWorld) {
		f := w.parse(planFile)
		got := w.plan(f, PlanOptions{})
		if empty := w.plan(f, PlanOptions{Empty: true}); !slices.Equal(empty, got) {
			w.Errorf("without Tandem's tables: %q", empty)
		}
		if len(got) != 4 || !strings.HasPrefix(got[0], `create entity contacts CREATE TABLE "contacts" (`) ||
			!strings.HasPrefix(got[1], "create channel crm") || !strings.Contains(got[1], `transport.auth.password:>"(secret)"`) ||
			!strings.HasPrefix(got[2], `want index crm/contacts CREATE INDEX "contacts_email_match" ON`) ||
			!strings.HasPrefix(got[3], `want index crm/contacts CREATE INDEX "contacts_last_born_match" ON`) {
			w.Fatalf("%s", strings.Join(got, "\n"))
		}
		w.apply(f)
		after := w.plan(f, PlanOptions{Prune: true})
		if len(withoutWanted(after)) > 0 || len(after) != 2 {
			w.Fatalf("after applying: %s", strings.Join(after, "\n"))
		}
		// The wanted indexes, once made, are wanted no more.
		err := w.db.Write(w.Context(), "indexes", func(ctx context.Context, tx *store.Tx) error {
			for _, s := range after {
				_, sql, _ := strings.Cut(s, "crm/contacts ")
				if _, err := tx.ExecContext(ctx, strings.Replace(sql, "CONCURRENTLY ", "", 1)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			w.Fatal(err)
		}
		if after = w.plan(f, PlanOptions{}); len(after) > 0 {
			w.Errorf("with the indexes: %q", after)
		}
	})
}

// TestPlanSecrets changes one of two secrets: only that one is said to change,
// and only that one is sealed anew.
func TestPlanSecrets(t *testing.T) {
	onBoth(t, func(w *planWorld) {
		w.apply(w.parse(planFile))
		before, rev := w.sealed()
		f := w.parse(strings.Replace(planFile, "CANARY-2", "CANARY-3", 1))
		want := []string{`update channel crm transport.headers.X-A:"(secret)">"(secret)"`}
		if got := withoutWanted(w.plan(f, PlanOptions{})); !slices.Equal(got, want) {
			w.Fatalf("%q", got)
		}
		w.apply(f)
		after, next := w.sealed()
		if next != rev+1 || len(after) != 2 || after["transport.headers.X-A"] == before["transport.headers.X-A"] ||
			after["transport.auth.password"] != before["transport.auth.password"] {
			w.Errorf("revision %d after %d\n%v\n%v", next, rev, before, after)
		}
		w.apply(f)
		if _, again := w.sealed(); again != next {
			w.Errorf("revision %d without a change", again)
		}
	})
}

func TestPlanOthers(t *testing.T) {
	onBoth(t, func(w *planWorld) {
		_, crm, _ := strings.Cut(planFile, "  - name: crm")
		w.apply(w.parse(planFile + "  - name: old" + crm))
		err := w.db.Write(w.Context(), "by hand", func(ctx context.Context, tx *store.Tx) error {
			c, err := tx.ChannelByName(ctx, "crm")
			if err != nil {
				return err
			}
			c.Managed = ""
			if _, _, _, err = tx.PutChannel(ctx, c); err != nil {
				return err
			}
			c.Name = "pages" // one that no file manages
			_, _, _, err = tx.PutChannel(ctx, c)
			return err
		})
		if err != nil {
			w.Fatal(err)
		}
		f := w.parse(planFile)
		if got, want := withoutWanted(w.plan(f, PlanOptions{})), []string{`update channel crm managed by:"">"file"`, "leave channel old"}; !slices.Equal(got, want) {
			w.Errorf("%q", got)
		}
		if got, want := withoutWanted(w.plan(f, PlanOptions{Prune: true})), []string{`update channel crm managed by:"">"file"`, "remove channel old"}; !slices.Equal(got, want) {
			w.Errorf("%q", got)
		}
		// What applying would refuse, the plan refuses, all of it at once.
		bad := w.parse(strings.NewReplacer("{local: born, remote: born}", "{local: burn, remote: born}", "[last, born]", "[last]").Replace(planFile) + `
      - name: more
        entity: contacts
        remote: {list: {path: /m}}
        mapping: [{local: emial, remote: email}]
`)
		_, err = MakePlan(w.Context(), w.db, w.keys, channels.Default, bad, PlanOptions{})
		if fault.CodeOf(err) != fault.CodeConfig || !strings.Contains(err.Error(), `burn`) || !strings.Contains(err.Error(), `emial`) {
			w.Errorf("a file that does not fit: %v", err)
		}
		if _, aerr := Apply(w.Context(), w.db, w.keys, channels.Default, bad); fault.CodeOf(aerr) != fault.CodeConfig {
			w.Errorf("applied: %v", aerr)
		}
		hub := *f
		hub.Channels = slices.Clone(f.Channels)
		hub.Channels[0].Type = "hubspot"
		if _, err = MakePlan(w.Context(), w.db, w.keys, channels.Default, &hub, PlanOptions{}); fault.CodeOf(err) != fault.CodeConfig {
			w.Errorf("another type: %v", err)
		}
	})
}

// TestExportRoundTrip applies a file, writes what is stored as a file, applies
// that to another database, and to this one: nothing changes.
func TestExportRoundTrip(t *testing.T) {
	onBoth(t, func(w *planWorld) {
		f := w.parse(planFile)
		w.apply(f)
		out := *f
		var err error
		if out.Entities, out.Channels, err = ForExport(w.Context(), w.db, w.keys); err != nil {
			w.Fatal(err)
		}
		text, vars, err := config.Export(&out)
		if err != nil || strings.Contains(string(text), "CANARY") || len(vars) != 2 {
			w.Fatalf("%s\n%v %v", text, vars, err)
		}
		back, ps := config.Parse("out.yaml", text, func(name string) (string, bool) {
			s, ok := map[string]string{"TANDEM_CRM_AUTH_PASSWORD": "CANARY-1", "TANDEM_CRM_HEADERS_X_A": "CANARY-2"}[name]
			return s, ok
		})
		if ps = ps.And(back.Check(channels.Default)); len(ps) > 0 {
			w.Fatalf("%v\n%s", ps, text)
		}
		if got := withoutWanted(w.plan(back, PlanOptions{Prune: true})); len(got) > 0 {
			w.Errorf("%q", got)
		}
		_, rev := w.sealed()
		w.apply(back)
		if _, again := w.sealed(); again != rev {
			w.Error("applying the export made a revision")
		}
	})
}
