package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/store"
)

// withEntities stores an entity with one key column and one with two.
func withEntities(w *world) {
	w.write(func(ctx context.Context, tx *store.Tx) error {
		for name, key := range map[string]string{"contacts": `["id"]`, "lines": `["bill","pos"]`} {
			spec := json.RawMessage(fmt.Sprintf(`{"table":%q,"key":%s,"capture":"api"}`, name, key))
			if _, err := tx.PutEntity(ctx, store.Entity{Name: name, Spec: spec}); err != nil {
				return err
			}
		}
		return nil
	})
}

// logged reads the change log.
func (w *world) logged() []string {
	w.tb.Helper()
	var out []string
	err := w.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		return tx.SelectContext(ctx, &out, `SELECT entity || ' ' || op || ' ' || local_key || COALESCE(' ' || fields, '') || ' ' || origin FROM tandem_change_log ORDER BY seq`)
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	return out
}

func TestLocalChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	withEntities(w)
	var got api.ChangesAccepted
	w.want(http.StatusAccepted, "POST", "/api/v1/entities/contacts/changes", `{"changes":[
		{"id":"42","op":"upsert","fields":["email","name"],"at":"2026-11-24T12:00:00Z"},
		{"id":12345678901234567890,"op":"delete","fields":["email"]}, {"id":"a \"b\"","op":"upsert"}]}`, &got)
	if got.Accepted != 3 || got.Entity != "contacts" {
		t.Errorf("%+v", got)
	}
	w.want(http.StatusAccepted, "POST", "/api/v1/entities/lines/changes", `{"changes":[{"id":["B\"1",7],"op":"upsert"},{"id":"[\"B2\",\"8\"]","op":"delete"}]}`, nil)
	w.want(http.StatusAccepted, "POST", "/api/v1/entities/lines/changes", `{"changes":[]}`, nil)
	want := []string{
		`contacts u 42 ["email","name"] 0`, "contacts d 12345678901234567890 0", `contacts u a "b" 0`,
		`lines u ["B\"1","7"] 0`, `lines d ["B2","8"] 0`,
	}
	if got := w.logged(); !slices.Equal(got, want) {
		t.Errorf("logged\n got  %q\n want %q", got, want)
	}
	var at []int64
	if err := w.db.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.SelectContext(ctx, &at, "SELECT at FROM tandem_change_log WHERE local_key = '42'")
	}); err != nil || len(at) != 1 || at[0] != 1795521600000000 {
		t.Errorf("at %v %v", at, err)
	}
	if w.fleet.kicks.Load() != 2 {
		t.Errorf("%d kicks, want one for each request with changes", w.fleet.kicks.Load())
	}
}

func TestLocalChangesRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	withEntities(w)
	for _, c := range []struct {
		status               int
		entity, body, detail string
	}{
		{http.StatusNotFound, "nobody", `{"changes":[]}`, `no entity "nobody"`},
		{http.StatusUnprocessableEntity, "contacts", `{"changes":[{"id":"1","op":"upsert"},{"id":"","op":"upsert"}]}`, "changes[1].id"},
		{http.StatusUnprocessableEntity, "contacts", `{"changes":[{"id":["1","2"],"op":"upsert"}]}`, "key of 1 columns"},
		{http.StatusUnprocessableEntity, "lines", `{"changes":[{"id":"1","op":"upsert"}]}`, "key of 2 columns"},
		{http.StatusUnprocessableEntity, "contacts", `{"changes":[{"id":1.5,"op":"upsert"}]}`, ""},
		{http.StatusUnprocessableEntity, "contacts", `{"changes":[{"id":"1","op":"drop"}]}`, "op"},
		{http.StatusUnprocessableEntity, "contacts", `{"changes":[{"id":"1"}]}`, "op"},
		{http.StatusUnprocessableEntity, "contacts", `{"changes":[{"op":"upsert"}]}`, "id"},
		{http.StatusUnprocessableEntity, "contacts", `{"changes":[{"id":"1","op":"upsert","at":"soon"}]}`, "changes[0].at"},
		{http.StatusUnprocessableEntity, "contacts", `{"changes":[{"id":"1","op":"upsert","fields":[""]}]}`, "changes[0].fields"},
		{http.StatusUnprocessableEntity, "contacts", `{"changes":[{"id":"1","op":"upsert","more":1}]}`, "more"},
		{http.StatusUnprocessableEntity, "contacts", `{}`, "changes"},
		{http.StatusRequestEntityTooLarge, "contacts", `{"changes":[{"id":"` + strings.Repeat("x", 1<<20) + `","op":"upsert"}]}`, ""},
	} {
		p := w.problem(c.status, "POST", "/api/v1/entities/"+c.entity+"/changes", c.body)
		if !strings.Contains(p.Detail, c.detail) {
			t.Errorf("%s %.60s: %q, want %q in it", c.entity, c.body, p.Detail, c.detail)
		}
	}
	if p := w.problem(http.StatusNotFound, "POST", "/api/v1/entities/nobody/changes", `{"changes":[]}`); !strings.Contains(p.Hint, "contacts, lines") {
		t.Errorf("hint %q", p.Hint)
	}
	if got := w.logged(); len(got) > 0 {
		t.Errorf("logged all the same: %q", got)
	}
	if p := w.problem(http.StatusUnauthorized, "POST", "/api/v1/entities/contacts/changes", `{"changes":[]}`, func(r *http.Request) { r.Header.Del("Authorization") }); p.Code != api.CodeUnauthorized {
		t.Errorf("%+v", p)
	}
}
