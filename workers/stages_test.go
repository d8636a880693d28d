package workers

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/channels/rest"
	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/transport/transporttest"
)

const stagesFile = `
network: {allow: [127.0.0.0/8]}
entities:
  contacts: {table: contacts, key: id}
channels:
  - name: crm
    type: rest
    transport: {base_url: %q}
    connectors:
      - name: contacts
        entity: contacts
        match: [[email]]
        remote: {list: {path: /contacts, records: items, page: {by: none}}, id: id}
        mapping: [{local: email, remote: email}]
      - name: companies
        entity: contacts
        match: [[email]]
        remote: {list: {path: /companies, records: items, page: {by: none}}, id: id}
        mapping: [{local: email, remote: email}]
`

// The credential may read one of two connectors, and the remote's clock is off.
func TestStagesOfAChannel(t *testing.T) {
	t.Parallel()
	srv := transporttest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(90*time.Second).UTC().Format(http.TimeFormat))
		if strings.HasPrefix(r.URL.Path, "/companies") {
			transporttest.Status(http.StatusForbidden)(w, r)
			return
		}
		transporttest.JSON(`{"items":[{"id":"1","email":"a@x.org"}]}`)(w, r)
	}))
	file, problems := config.Parse("t.yaml", fmt.Appendf(nil, stagesFile, srv.URL), func(string) (string, bool) { return "", false })
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	reg := &channels.Registry{}
	if err := reg.Register(rest.Type{}); err != nil {
		t.Fatal(err)
	}
	got, err := TestConfigured(t.Context(), reg, file.Guard(), &file.Channels[0])
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, st := range got {
		mark := "ok"
		switch {
		case !st.OK:
			mark = "fail"
		case st.Warn:
			mark = "warn"
		}
		words = append(words, st.Stage+" "+mark)
		if (mark != "ok") != (st.Hint != "") {
			t.Errorf("stage %+v", st)
		}
	}
	if want := "name ok, connect ok, auth ok, record contacts ok, scope companies fail, clock warn"; strings.Join(words, ", ") != want {
		t.Errorf("stages %q, want %q", words, want)
	}
}
