package hubspot_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/emulate/hubspot"
)

func TestPopulate(t *testing.T) {
	t.Parallel()
	a, b := hubspot.New(hubspot.Config{}), hubspot.New(hubspot.Config{})
	from := start.Add(-100 * time.Hour)
	ids := a.Populate(100, from, start, 3)
	b.Populate(100, from, start, 3)
	emails := map[string]bool{}
	for i, id := range ids {
		c, ok := a.Contact(id)
		same, _ := b.Contact(id)
		if at := from.Add(time.Duration(i) * time.Hour); !ok || !c.Modified.Equal(at) || !c.Created.Equal(at) {
			t.Fatalf("%s: %+v, want %v", id, c, at)
		}
		for name, v := range c.Properties {
			if v == "" || same.Properties[name] != v {
				t.Errorf("%s: %s is %q and %q", id, name, v, same.Properties[name])
			}
		}
		emails[c.Properties["email"]] = true
	}
	a.Purge(ids[0])
	more, _ := a.Contact(a.Populate(1, start, start, 4)[0])
	if emails[more.Properties["email"]] = true; len(emails) != 101 {
		t.Errorf("%d e-mail addresses of 101 contacts", len(emails))
	}
}

// Every n-th call goes wrong, in turn, until that is ended.
func TestTrouble(t *testing.T) {
	t.Parallel()
	r := serve(t, hubspot.Config{})
	r.Trouble(3, hubspot.TooMany(hubspot.PolicyBurst, 2*time.Second), hubspot.Status(http.StatusBadGateway, "BAD_GATEWAY", "gone"))
	var got []string
	call := func() {
		answer := r.call(http.MethodGet, base, "")
		got = append(got, http.StatusText(answer.status))
	}
	for range 9 {
		call()
	}
	r.Trouble(0)
	for range 3 {
		call()
	}
	want := "OK OK Too Many Requests OK OK Bad Gateway OK OK Too Many Requests OK OK OK"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("%s\nwant %s", s, want)
	}
}

// The bad day of the account has each kind of trouble in it.
func TestTroubleOfABadDay(t *testing.T) {
	t.Parallel()
	r := serve(t, hubspot.Config{})
	r.Trouble(1)
	seen := map[string]int{}
	for range 18 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+base, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+hubspot.DefaultToken)
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			seen["cut"]++
			continue
		}
		seen[res.Status[:3]]++
		if err := res.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for status, want := range map[string]int{"429": 4, "423": 2, "502": 2, "500": 2, "cut": 2, "200": 6} {
		if seen[status] != want {
			t.Errorf("%s %d times, want %d: %v", status, seen[status], want, seen)
		}
	}
}

// A spoiled property was always like that: searches since then do not find it.
func TestSpoil(t *testing.T) {
	t.Parallel()
	r := serve(t, hubspot.Config{})
	ids := r.Populate(3, start.Add(-time.Hour), start.Add(-time.Minute), 1)
	before, _ := r.Contact(ids[1])
	r.Spoil(ids[1], "email", "")
	r.Spoil(ids[1], hubspot.PropOrders, "a dozen")
	c, _ := r.Contact(ids[1])
	if _, has := c.Properties["email"]; has || c.Properties[hubspot.PropOrders] != "a dozen" || !c.Modified.Equal(before.Modified) {
		t.Errorf("%+v", c)
	}
	got := r.call(http.MethodGet, base+"/"+ids[1]+"?properties=email,orders&propertiesWithHistory=orders", "")
	if got.at("properties", "email") != nil || got.at("properties", "orders") != "a dozen" {
		t.Errorf("%s", got.raw)
	}
	if n, _ := got.at("propertiesWithHistory", "orders").([]any); len(n) != 1 {
		t.Errorf("history: %s", got.raw)
	}
}
