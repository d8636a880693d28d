package workers

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/transport/transporttest"
)

const companiesFile = `
entities:
  companies: {table: companies, key: id, create: {id: KEY, name: text}}
  contacts: {table: contacts, key: id, create: {id: KEY, email: text, company_id: integer}}
channels:
  - name: crm
    type: rest
    schedule: "off"
    transport: {base_url: %q}
    connectors:
      - name: companies
        entity: companies
        remote: {list: {path: /companies, page: {by: none}}, id: id}
        mapping: [{local: name, remote: name}]
      - name: contacts
        entity: contacts
        match: [[email]]
        remote: {list: {path: /contacts, page: {by: none}}, id: id}
        mapping:
          - {local: email, remote: email}
          - {local: company_id, remote: company, ref: companies}
`

// TestReferencesOfOneWayConnectors: a connector that only reads translates
// references, too. One that cannot be told yet waits, at a row that is made and
// at one that is found, and follows once the other record is linked.
func TestReferencesOfOneWayConnectors(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		var late atomic.Bool
		srv := transporttest.New(s.t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			companies := `[{"id":"c1","name":"One"}`
			switch {
			case r.URL.Path == "/contacts":
				transporttest.JSON(`[{"id":"1","email":"ann@x.org","company":"c1"},{"id":"2","email":"bob@x.org","company":"c2"},`+
					`{"id":"3","email":"cid@x.org","company":"c2"},{"id":"4","email":"dan@x.org"}]`)(w, r)
			case late.Load():
				transporttest.JSON(companies+`,{"id":"c2","name":"Two"}]`)(w, r)
			default:
				transporttest.JSON(companies+`]`)(w, r)
			}
		}))
		s.apply(fmt.Sprintf(companiesFile, srv.URL))
		s.exec("INSERT INTO contacts (email) VALUES ('cid@x.org')")
		f := s.work()
		look := func(want string) {
			s.t.Helper()
			s.await("the run", s.sync(f, store.ModeFull).ID, ended)
			if got := s.employers(); got != want {
				s.t.Errorf("%s, want %s", got, want)
			}
		}
		look("ann=One bob= cid= dan=")
		late.Store(true)
		look("ann=One bob=Two cid=Two dan=")
		look("ann=One bob=Two cid=Two dan=")
		s.exec("UPDATE contacts SET company_id = NULL WHERE email = 'bob@x.org'")
		look("ann=One bob= cid=Two dan=") // an edit here stands until the remote's value changes
	})
}

// employers tells the contacts with their companies' names.
func (s *site) employers() string {
	s.t.Helper()
	var list []string
	s.write(func(ctx context.Context, tx *store.Tx) error {
		return tx.SelectContext(ctx, &list, `SELECT replace(p.email, '@x.org', '') || '=' || coalesce(c.name, '')
			FROM contacts p LEFT JOIN companies c ON c.id = p.company_id ORDER BY p.email`)
	})
	return strings.Join(list, " ")
}

// defect is a hook with a mistake.
type defect struct{}

func (defect) Passing(context.Context, channels.Moment, *channels.Passing) error {
	panic("a mistake")
}

// TestPanicIsAFailure: what panics each time fails the run in the end.
func TestPanicIsAFailure(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		srv := transporttest.New(s.t, http.HandlerFunc(transporttest.JSON(`[{"id":"c1","name":"One"}]`)))
		s.reg.AddHook(defect{})
		s.apply(fmt.Sprintf(companiesFile, srv.URL))
		m := s.awaitFailed("the end", s.sync(s.work(waited), store.ModeFull).ID)
		if !strings.Contains(m.run.Error.Message, "panicked: a mistake") || m.run.Error.Hint == "" {
			s.t.Errorf("%+v", m.run.Error)
		}
	})
}
