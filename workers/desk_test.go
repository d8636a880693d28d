package workers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/explain"
	"github.com/tandem-sync/tandem/sync/undo"
	"github.com/tandem-sync/tandem/transport/transporttest"
)

const deskFile = `
entities:
  contacts: {table: contacts, key: id, create: {id: KEY, email: text, city: text}}
channels:
  - name: crm
    type: rest
    schedule: "off"
    conflict: manual
    transport: {base_url: %q}
    connectors:
      - name: contacts
        entity: contacts
        direction: both
        create: both
        match: [[email]]
        remote:
          list: {path: /contacts, records: items, page: {by: none}}
          get: {path: "/contacts/{id}", record: ""}
          create: {method: POST, path: /contacts, id: id}
          update: {method: PATCH, path: "/contacts/{id}"}
          id: id
        mapping:
          - {local: email, remote: email}
          - {local: city, remote: city%s}
`

// onePerson is a remote with one contact that can be edited.
type onePerson struct {
	mu     sync.Mutex
	city   string
	refuse string // a city that it does not take
}

func (p *onePerson) set(city string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.city = city
}

func (p *onePerson) get() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.city
}

func (p *onePerson) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Method == http.MethodPatch {
		var body struct{ City *string }
		if err := json.NewDecoder(r.Body).Decode(&body); err == nil && body.City != nil {
			if *body.City == p.refuse {
				transporttest.Status(http.StatusUnprocessableEntity)(w, r)
				return
			}
			p.city = *body.City
		}
	}
	one := fmt.Sprintf(`{"id":"c1","email":"ann@x.org","city":%q}`, p.city)
	if strings.HasSuffix(r.URL.Path, "/c1") {
		transporttest.JSON(one)(w, r)
		return
	}
	transporttest.JSON(`{"items":[`+one+`]}`)(w, r)
}

func (s *site) exec(q string) {
	s.t.Helper()
	s.write(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, q)
		return err
	})
}

// TestDesk walks through what people do with a record, on both databases: a
// conflict is met, explained and decided, and a run is undone.
func TestDesk(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		p := &onePerson{city: "Bern"}
		srv := transporttest.New(s.t, p)
		s.apply(fmt.Sprintf(deskFile, srv.URL, ""))
		f := s.work()
		s.await("the first run", s.sync(f, store.ModeFull).ID, ended)
		s.exec("UPDATE contacts SET city = 'Oslo'")
		p.set("Rome")
		var open []store.Conflict
		for range 100 { // the change may have met the run's end
			s.await("a run", s.sync(f, store.ModeFull).ID, ended)
			s.write(func(ctx context.Context, tx *store.Tx) (err error) {
				open, err = tx.Conflicts(ctx, store.ConflictFilter{Open: true})
				return err
			})
			if len(open) > 0 {
				break
			}
		}
		if len(open) != 1 || p.get() != "Rome" {
			s.t.Fatalf("%d conflicts, there %s", len(open), p.get())
		}
		d := NewDesk(s.config(s.db, "desk"))
		defer d.Close()
		rec, err := d.ExplainRecord(s.t.Context(), "crm", "contacts", explain.Query{RemoteID: "c1"})
		if err != nil || rec.Fields[1].Conflict == nil || rec.Fields[1].Now == nil || rec.Fields[1].Now.Winner != "unresolved" {
			s.t.Fatalf("%+v %v", rec, err)
		}
		done, err := d.SettleConflicts(s.t.Context(), open, store.WinnerLocal)
		if err != nil || len(done.Done) != 1 || len(done.Runs) != 1 || len(done.Refused) != 0 {
			s.t.Fatalf("%+v %v", done, err)
		}
		f.Kick()
		s.await("the export", done.Runs[0].ID, ended)
		if p.get() != "Oslo" {
			s.t.Errorf("there %s", p.get())
		}
		done, err = f.Desk().SettleConflicts(s.t.Context(), open, store.WinnerRemote)
		if err != nil || fault.CodeOf(done.Refused[open[0].ID]) != fault.CodeConflict {
			s.t.Errorf("a second decision: %+v %v", done, err)
		}

		p.set("Lima")
		run := s.sync(f, store.ModeFull)
		run = s.await("the run to undo", run.ID, ended).run
		got, err := d.UndoRun(s.t.Context(), run, undo.Options{})
		if err != nil || got.Fields != 1 || len(got.Connectors) != 1 {
			s.t.Fatalf("%+v %v", got, err)
		}
		s.await("a run that tells the remote", s.sync(f, store.ModeIncremental).ID, ended)
		if p.get() != "Oslo" {
			s.t.Errorf("after undoing, there %s", p.get())
		}
		for _, q := range [][2]string{{"nobody", "contacts"}, {"crm", "nothing"}} {
			if _, err := d.ExplainRecord(s.t.Context(), q[0], q[1], explain.Query{RemoteID: "c1"}); fault.CodeOf(err) != fault.CodeNotFound {
				s.t.Errorf("%v: %v", q, err)
			}
		}
		if c, err := d.CaptureOf(s.t.Context(), "contacts"); err != nil || !c.Right() {
			s.t.Errorf("%+v %v", c, err)
		}
	})
}

// TestNewMappingTriesParkedRowsOnTheirWayOut: a row that the remote refused goes
// out again when the mapping changes.
func TestNewMappingTriesParkedRowsOnTheirWayOut(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		p := &onePerson{city: "Bern", refuse: "here"}
		srv := transporttest.New(s.t, p)
		s.apply(fmt.Sprintf(deskFile, srv.URL, ""))
		f := s.work()
		s.await("the first run", s.sync(f, store.ModeFull).ID, ended)
		s.exec("UPDATE contacts SET city = 'here'")
		for range 100 {
			s.await("a run", s.sync(f, store.ModeIncremental).ID, ended)
			if len(s.parked()) > 0 {
				break
			}
		}
		if list := s.parked(); len(list) != 1 || !list[0].Outward || list[0].Resolved != "" {
			s.t.Fatalf("%+v", list)
		}
		before := len(s.runs())
		s.apply(fmt.Sprintf(deskFile, srv.URL, `, transform: {to_local: "value", to_remote: "value == 'here' ? 'Thun' : value"}`))
		list := s.runs()[before:]
		if len(list) != 1 || list[0].Spec.Kind != store.KindReverseSync || len(list[0].Spec.LocalIDs) != 1 {
			s.t.Fatalf("%+v", list)
		}
		f.Kick()
		s.await("the export", list[0].ID, ended)
		if p.get() != "Thun" || s.parked()[0].Resolved != store.ResolvedRetried {
			s.t.Errorf("there %s, %+v", p.get(), s.parked())
		}
	})
}
