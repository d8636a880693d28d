package rest_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/channels/channelstest"
	"github.com/tandem-sync/tandem/channels/rest"
	"github.com/tandem-sync/tandem/transport"
	"github.com/tandem-sync/tandem/transport/transporttest"
)

// kinds are the ways a listing can go on, as settings for a Collection.
var kinds = map[string]string{
	"page":     `{"path":"/page","records":"items","page":{"by":"page","param":"page","size_param":"size","size":4}}`,
	"total":    `{"path":"/page","records":"items","page":{"by":"page","param":"page","size_param":"size","size":4,"total_at":"total"}}`,
	"offset":   `{"path":"/offset","records":"items","page":{"by":"offset","param":"offset","size_param":"limit","size":4}}`,
	"cursor":   `{"path":"/cursor","query":{"limit":4},"records":"items","page":{"by":"cursor","token_at":"next","token_param":"after"}}`,
	"next_url": `{"path":"/next_url","query":{"limit":4},"records":"items","page":{"by":"next_url","next_at":"next"}}`,
	"link":     `{"path":"/link?limit=4","page":{"by":"link"}}`,
	"post":     `{"path":"/search","method":"POST","records":"items","page":{"by":"cursor","token_at":"next","token_param":"after","size_param":"limit","size":4}}`,
	"template": `{"path":"/search","method":"POST","body":{"after":"{token}","limit":"{size}"},"records":"items","page":{"by":"cursor","token_at":"next","size":4}}`,
	"text":     `{"path":"/search","method":"POST","body":"{\"after\":\"{token}\",\"limit\":4}","records":"items","page":{"by":"cursor","token_at":"next"}}`,
}

func TestAcceptance(t *testing.T) {
	for name, list := range kinds {
		t.Run(name, func(t *testing.T) {
			data, want := filled(11)
			full := transporttest.New(t, data)
			none := transporttest.New(t, transporttest.NewCollection(time.Now))
			same := transporttest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Link", `</link?after=x>; rel=next`)
				body := `{"items":[{"id":"a"},{"id":"b"}],"next":"/next_url?after=x"}`
				if r.URL.Path == "/link" {
					body = `[{"id":"a"},{"id":"b"}]`
				}
				_, _ = fmt.Fprint(w, body)
			}))
			remote := `{"list":` + list + `,"id":"id","modified":"updated","get":{"path":"/records/{id}"}}`
			channelstest.Run(t, channelstest.Subject{
				Type:     rest.Type{Options: []transport.Option{noWait}},
				Settings: settingsFor(full.URL, remote), Empty: settingsFor(none.URL, remote), Repeating: settingsFor(same.URL, remote),
				Connector: "contacts", Fields: []string{"email", "address.city", "n", "missing"}, Want: want,
			})
			full.CloseClientConnections()
		})
	}
}

func TestAcceptanceWithTombstones(t *testing.T) {
	data, want := filled(11)
	full := transporttest.New(t, data)
	none := transporttest.New(t, transporttest.NewCollection(time.Now))
	remote := `{"list":` + kinds["page"] + `,"id":"id","deleted":{"path":"/deleted","records":"ids"},"get":{"path":"/records/{id}"}}`
	channelstest.Run(t, channelstest.Subject{
		Type:     rest.Type{},
		Settings: settingsFor(full.URL, remote), Empty: settingsFor(none.URL, remote), Repeating: channels.Settings{},
		Connector: "contacts", Fields: []string{"email", "address.city", "n", "missing"}, Want: want, Deleted: []string{"gone1", "gone2"},
	})
}
