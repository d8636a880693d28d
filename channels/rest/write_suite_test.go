package rest_test

import (
	"fmt"
	"testing"

	"github.com/tandem-sync/tandem/channels/channelstest"
	"github.com/tandem-sync/tandem/channels/rest"
	"github.com/tandem-sync/tandem/sync/record"
	"github.com/tandem-sync/tandem/transport"
)

const (
	shopList  = `"list":{"path":"/contacts","records":"items","page":{"by":"page","param":"page","size_param":"perPage","size":50,"total_at":"totalItems"}}`
	shopPaths = `"update":{"path":"/contacts/{id}"},"remove":{"path":"/contacts/{id}"}`
	// pocketRemote is how PocketBase is written to.
	pocketRemote = `{` + shopList + `,"get":{"path":"/contacts/{id}"},"create":{"path":"/contacts","id":"id","settle":"0s"},` + shopPaths +
		`,"find":{"query":"filter=(email='{email}')"}}`
	classicPaths  = `"update":{"path":"/contacts/{id}","wrap":"contact"},"remove":{"path":"/contacts/{id}"},"find":{"query":"email={email}"}`
	classicRemote = `{` + shopList + `,"get":{"path":"/contacts/{id}","record":"contact"},"create":{"path":"/contacts","wrap":"contact"},` + classicPaths + `}`
	guardedRemote = `{` + shopList + `,"get":{"path":"/contacts/{id}"},"create":{"path":"/contacts","id":"id","settle":"0s"}` +
		`,"update":{"path":"/contacts/{id}","if_match":"etag"},"remove":{"path":"/contacts/{id}","if_match":"etag"},"find":{"query":"filter=(email='{email}')"}}`
	keyedRemote = `{` + shopList + `,"create":{"path":"/contacts","wrap":"contact","idempotency":"Idempotency-Key"},` + classicPaths + `}`
)

var shopFields = []string{"email", "name", "n", "price", "active", "address.city", "tags"}

// sample has what is hard to send: quotes, numbers beyond a float64, decimals
// with trailing zeros.
func sample(n int) []record.Value {
	return []record.Value{
		record.T(fmt.Sprintf(`anna.o'brien\%d@example.com`, n)), record.T(fmt.Sprintf("Name \"%d\" <ü>\u2028", n)),
		record.N(fmt.Sprintf("90071992547409%02d", n+93)), record.N("0.10"), record.B(n%2 == 0), record.T("Rome"), record.J(`["a",{"b":1.0}]`),
	}
}

func TestWriterAcceptance(t *testing.T) {
	for name, c := range map[string]struct {
		pocket bool
		remote string
	}{"pocket": {true, pocketRemote}, "classic": {false, classicRemote}, "keyed": {false, keyedRemote}, "guarded": {true, guardedRemote}} {
		t.Run(name, func(t *testing.T) {
			channelstest.RunWriter(t, channelstest.Writing{
				Type:      rest.Type{Options: []transport.Option{noWait}},
				Connector: "contacts", Fields: shopFields, Sample: sample, Identity: []int{0}, Update: 1,
				Open: func(t *testing.T) *channelstest.Remote { return newShop(t, c.pocket).remote(c.remote) },
				Bad: func(n int) []record.Value {
					values := sample(n)
					values[0] = record.T("no email")
					return values
				},
			})
		})
	}
}
