package workers

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/transport/transporttest"
)

const cursorFile = `
entities:
  contacts: {table: contacts, key: id, create: {id: KEY, email: text}}
channels:
  - name: crm
    type: rest
    schedule: "off"
    transport: {base_url: %q}
    connectors:
      - name: contacts
        entity: contacts
        match: [[email]]
        remote:
          list: {path: /contacts, records: items, page: {by: cursor, token_at: next, param: after}, since: {query: "since={time}", format: rfc3339}}
          id: id
          modified: at
        mapping: [{local: email, remote: email}]
`

// TestExpiredCursorMidRun: the remote forgets a listing's cursor in the middle
// of a run (410). The run fails with what was said and keeps whole pages; the
// watermark stays, and the next run begins there, not at the cursor.
func TestExpiredCursorMidRun(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		t := s.t
		var expired atomic.Bool
		srv := transporttest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			contact := func(n int, next string) {
				transporttest.JSON(fmt.Sprintf(`{"items":[{"id":"c%d","email":"c%[1]d@example.com","at":"2026-01-0%[1]dT00:00:00Z"}],"next":%q}`, n, next))(w, r)
			}
			switch after := r.URL.Query().Get("after"); {
			case after == "":
				contact(1, "two")
			case after == "two":
				contact(2, "three")
			case expired.Load():
				transporttest.Status(http.StatusGone)(w, r)
			default:
				contact(3, "")
			}
		}))
		s.apply(fmt.Sprintf(cursorFile, srv.URL))
		f := s.work()
		first := s.await("the first run", s.sync(f, store.ModeIncremental).ID, ended)
		if first.count.Created != 3 {
			t.Fatalf("%+v %+v", first.count, first.run.Error)
		}
		mark := s.watermark()
		before := len(srv.Seen())

		expired.Store(true)
		m := s.awaitFailed("the run whose cursor expires", s.sync(f, store.ModeIncremental).ID)
		if m.run.Status != store.StatusFailed || m.run.Error == nil || m.count.Read != 2 || m.count.Unchanged != 2 {
			t.Errorf("%s, %+v, %+v", m.run.Status, m.count, m.run.Error)
		}
		if now := s.watermark(); now != mark {
			t.Errorf("a failed run moved the watermark from %s to %s", mark, now)
		}
		failed := srv.Seen()[before:]

		expired.Store(false)
		m = s.await("the run after it", s.sync(f, store.ModeIncremental).ID, ended)
		if m.run.Status != store.StatusFinished || m.count.Read != 3 || m.count.Unchanged != 3 {
			t.Errorf("%s %+v %+v", m.run.Status, m.count, m.run.Error)
		}
		again := srv.Seen()[before+len(failed):]
		if len(again) != 3 || again[0].Query != failed[0].Query || again[0].Query == "" {
			t.Errorf("it began with %+v, the failed one with %+v", again, failed)
		}
	})
}

// watermark gives the first connector's, as text.
func (s *site) watermark() (at string) {
	s.t.Helper()
	id := s.channel().ID
	s.write(func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.Connectors(ctx, id)
		if err != nil {
			return err
		}
		when, _, ok, err := tx.Watermark(ctx, list[0].ID)
		at = fmt.Sprint(when.UnixMicro(), ok)
		return err
	})
	return at
}
