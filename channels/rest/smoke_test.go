package rest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/channels/rest"
	"github.com/tandem-sync/tandem/transport"
)

func TestReadsPagesByNumber(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("page") {
		case "1":
			_, _ = fmt.Fprint(w, `{"items":[{"id":9007199254740993,"email":"a@x","address":{"city":"Rome"}},{"id":"2","email":null}]}`)
		default:
			_, _ = fmt.Fprint(w, `{"items":[]}`)
		}
	}))
	t.Cleanup(srv.Close)
	ch, err := rest.Type{}.Open(t.Context(), channels.Settings{
		Channel:   "crm",
		Transport: json.RawMessage(fmt.Sprintf(`{"base_url":%q}`, srv.URL)),
		Connectors: []channels.ConnectorSettings{{Name: "contacts", Remote: json.RawMessage(
			`{"list":{"path":"/x","records":"items","page":{"by":"page","param":"page"}},"id":"id"}`)}},
		Network: transport.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ch.Close() })
	c, err := ch.Connector("contacts")
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Reader(t.Context(), channels.ReadRequest{Fields: []string{"email", "address.city"}})
	if err != nil {
		t.Fatal(err)
	}
	page, err := r.ReadPage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Records) != 2 || page.Records[0].ID != "9007199254740993" || page.Records[0].Values[1].Text != "Rome" {
		t.Fatalf("%+v", page.Records)
	}
	if page, err = r.ReadPage(t.Context()); err != nil || len(page.Records) != 0 {
		t.Fatal(page, err)
	}
	if _, err = r.ReadPage(t.Context()); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}
