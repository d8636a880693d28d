package hubspot_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/tandem-sync/tandem/emulate/hubspot"
)

// An account whose search index lags by a minute, and whose next call meets the
// limit of ten seconds.
func Example() {
	p := hubspot.New(hubspot.Config{IndexLag: time.Minute, TimeZone: "Europe/Berlin"})
	id := p.Create(map[string]string{"email": "ada@example.com"})
	p.Advance(time.Hour)
	p.Edit(map[string]string{"phone": "+44 20 7946 0000"}, id)
	p.Inject(hubspot.TooMany(hubspot.PolicyBurst, 10*time.Second))

	for range 2 {
		r := httptest.NewRequest(http.MethodGet, "/crm/v3/objects/contacts/"+id, http.NoBody)
		r.Header.Set("Authorization", "Bearer "+hubspot.DefaultToken)
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("Retry-After"))
	}
	// Output:
	// 429 10
	// 200
}
