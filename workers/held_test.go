package workers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/transport/transporttest"
)

const heldFile = `
entities:
  contacts: {table: contacts, key: id, create: {id: KEY, email: text, score: integer}}
channels:
  - name: crm
    type: rest
    schedule: "off"
    transport: {base_url: %q}
    connectors:
      - name: contacts
        entity: contacts
        match: [[email]]
        remote: {list: {path: /contacts, records: items, page: {by: none}}, id: id%s}
        mapping:
          - {local: email, remote: email}
          - {local: score, remote: score, type: integer%s}
`

const heldRecord = `{"id":"c1","email":"c1@example.com","score":"many"}`

// oneContact serves a contact whose score is no number, in a list and by id,
// until it is gone.
func oneContact(gone *atomic.Bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case gone.Load():
			transporttest.Status(http.StatusNotFound)(w, r)
		case strings.HasSuffix(r.URL.Path, "/c1"):
			transporttest.JSON(heldRecord)(w, r)
		default:
			transporttest.JSON(`{"items":[`+heldRecord+`]}`)(w, r)
		}
	})
}

// runs gives the specs of all runs, the first one first.
func (s *site) runs() (out []store.Run) {
	s.t.Helper()
	if err := s.db.Read(s.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.Runs(ctx, store.RunFilter{})
		out = nil
		for i := len(list) - 1; i >= 0; i-- {
			out = append(out, list[i])
		}
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *site) parked() (out []store.Parked) {
	s.t.Helper()
	if err := s.db.Read(s.t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
		out, err = tx.ListParked(ctx, store.ParkedFilter{})
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return out
}

const (
	byID = `, get: {path: "/contacts/{id}", record: ""}`
	cure = `, transform: "value == 'many' ? 99 : value"`
)

func TestNewMappingTriesParkedRecords(t *testing.T) {
	t.Parallel()
	for name, get := range map[string]string{"by id": byID, "all": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachSite(t, func(s *site) {
				var gone atomic.Bool
				srv := transporttest.New(s.t, oneContact(&gone))
				s.apply(fmt.Sprintf(heldFile, srv.URL, get, ""))
				f := s.work()
				m := s.await("the first run", s.sync(f, store.ModeFull).ID, ended)
				if m.count.Parked != 1 {
					s.t.Fatalf("%+v", m.count)
				}
				s.apply(fmt.Sprintf(heldFile, srv.URL, get, "")) // nothing new
				if n := len(s.runs()); n != 1 {
					s.t.Fatalf("%d runs after applying the same", n)
				}
				s.apply(fmt.Sprintf(heldFile, srv.URL, get, cure))
				list := s.runs()
				if len(list) != 2 {
					s.t.Fatalf("%d runs", len(list))
				}
				spec := list[1].Spec
				if targeted := len(spec.RemoteIDs) == 1 && spec.RemoteIDs[0] == "c1"; targeted != (get != "") || targeted == (spec.Mode == store.ModeFull) {
					s.t.Errorf("spec %+v", spec)
				}
				f.Kick()
				if m = s.await("the second run", list[1].ID, ended); m.count.Created != 1 {
					s.t.Errorf("%+v", m.count)
				}
				if p := s.parked(); len(p) != 1 || p[0].Resolved != store.ResolvedRetried {
					s.t.Errorf("%+v", p)
				}
			})
		})
	}
}

func TestNewMappingTriesSkippedRecords(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		var gone atomic.Bool
		srv := transporttest.New(s.t, oneContact(&gone))
		s.apply(fmt.Sprintf(heldFile, srv.URL, byID, ""))
		f := s.work()
		s.await("the first run", s.sync(f, store.ModeFull).ID, ended)
		ledger := api.NewService(s.db, nil, nil)
		if _, err := ledger.SkipParked(s.t.Context(), s.parked()[0].ID); err != nil {
			s.t.Fatal(err)
		}
		if m := s.await("a run that skips", s.sync(f, store.ModeFull).ID, ended); m.count.Skipped != 1 || m.count.Parked != 0 {
			s.t.Errorf("%+v", m.count)
		}
		s.apply(fmt.Sprintf(heldFile, srv.URL, byID, cure))
		f.Kick()
		list := s.runs()
		if m := s.await("a run with another mapping", list[len(list)-1].ID, ended); len(list) != 3 || m.count.Created != 1 {
			s.t.Errorf("%d runs, %+v", len(list), m.count)
		}
	})
}

func TestReadsByID(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		for get, want := range map[string]bool{byID: true, "": false} {
			s.apply(fmt.Sprintf(heldFile, "http://127.0.0.1:1", get, ""))
			got, err := ReadsByID(s.t.Context(), s.config(s.db, "asks"), "crm", "contacts")
			if err != nil || got != want {
				s.t.Errorf("get %q: %v %v", get, got, err)
			}
		}
		if got, err := ReadsByID(s.t.Context(), s.config(s.db, "asks"), "crm", "nothing"); err != nil || got {
			s.t.Errorf("an unknown connector: %v %v", got, err)
		}
		if _, err := ReadsByID(s.t.Context(), s.config(s.db, "asks"), "nobody", "contacts"); err == nil {
			s.t.Error("an unknown channel is no error")
		}
	})
}

// A message that named a channel before it existed is tried again by a person,
// and does its work then.
func TestParkedMessageGoesOutAgain(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		var gone atomic.Bool
		srv := transporttest.New(s.t, oneContact(&gone))
		body := json.RawMessage(`{"v":1,"type":"sync","channel":"crm","id":"message-1","mode":"full"}`)
		list := []store.Parked{{Kind: store.ParkedMessage, Reason: "unknown_channel", Message: "no channel", Payload: body}}
		s.write(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Park(ctx, list)
			return err
		})
		ledger := api.NewService(s.db, nil, nil)
		if _, err := ledger.RetryParked(s.t.Context(), list[0].ID); err == nil {
			s.t.Error("a message for a channel that is not there was taken")
		}
		s.apply(fmt.Sprintf(heldFile, srv.URL, byID, cure))
		f := s.work()
		r, err := ledger.RetryParked(s.t.Context(), list[0].ID)
		if err != nil || r.Run == nil {
			s.t.Fatalf("%+v %v", r, err)
		}
		f.Kick()
		runs := s.runs()
		for end := time.Now().Add(90 * time.Second); len(runs) == 0 && time.Now().Before(end); runs = s.runs() {
			time.Sleep(20 * time.Millisecond)
		}
		if len(runs) != 1 || runs[0].Trigger != store.TriggerMessage {
			s.t.Fatalf("%+v", runs)
		}
		if m := s.await("the message's run", runs[0].ID, ended); m.count.Created != 1 {
			s.t.Errorf("%+v", m.count)
		}
		if p := s.parked(); p[0].Resolved != store.ResolvedRetried {
			s.t.Errorf("%+v", p[0])
		}
	})
}
