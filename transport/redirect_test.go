package transport_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/transport"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

func TestRedirects(t *testing.T) {
	t.Parallel()
	other := tt.New(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	tests := []struct {
		name   string
		status int
		target string
		ok     bool
	}{
		{"same origin", 302, "/y", true},
		{"same origin, permanent", 308, "/y?a=b", true},
		{"another port", 302, other.URL + "/y", false},
		{"another port, 307", 307, other.URL + "/y", false},
		{"https", 301, "https://127.0.0.1/y", false},
		{"a credential in the target", 302, "https://evil.example/" + canary, false},
		{"metadata address", 302, "http://169.254.169.254/latest", false},
		{"another name of this machine", 302, strings.Replace(other.URL, "127.0.0.1", "localhost", 1) + "/y", false},
		{"without a scheme", 302, strings.TrimPrefix(other.URL, "http:"), false},
		{"without a target", 302, "", false},
		{"loop", 302, "/x", false},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := tt.New(t, nil)
			srv.Handle("/x", tt.Redirect(c.status, c.target))
			srv.Handle("/y", tt.JSON(`{}`))
			h := client(t, srv.URL, func(cfg *transport.HTTPConfig) {
				cfg.Auth = transport.Auth{Kind: transport.AuthHeader, Name: "X-Api-Key", Value: canary}
			})
			_, err := get(t, h, "/x")
			if c.ok {
				if err != nil {
					t.Fatal(err)
				}
				if s := srv.Seen()[1]; s.Header.Get("X-Api-Key") != canary {
					t.Error("the credential did not follow within the origin")
				}
				return
			}
			wantFault(t, err, fault.Permanent, "redirect")
			if n := len(srv.Seen()); n > 4 {
				t.Errorf("%d calls", n)
			}
		})
	}
	t.Cleanup(func() {
		if s := other.Seen(); len(s) > 0 {
			t.Errorf("the other server was called: %+v", s)
		}
	})
}

func TestRedirectOfAPostIsAnError(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		srv := tt.New(t, nil)
		srv.Handle("/x", tt.Redirect(status, "/y"))
		srv.Handle("/y", tt.JSON(`{}`))
		h := client(t, srv.URL, nil)
		_, err := h.Do(t.Context(), transport.Request{Method: http.MethodPost, Path: "/x", Body: []byte(`{}`), Safe: true})
		wantFault(t, err, fault.Permanent, "redirect")
		if n := len(srv.Seen()); n != 1 {
			t.Errorf("%d: %d calls", status, n)
		}
	}
}

func TestAddressesOfTheServerStayOnItsOrigin(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/next", tt.JSON(`{}`))
	h := client(t, srv.URL, nil)
	if _, err := h.Do(t.Context(), transport.Request{URL: mustURL(t, srv.URL+"/next?a=1")}); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{
		"https://evil.example/next", "http://127.0.0.1/next", strings.Replace(srv.URL, "http", "https", 1),
		strings.Replace(srv.URL, "http://", "http://user@", 1),
	} {
		_, err := h.Do(t.Context(), transport.Request{URL: mustURL(t, target)})
		wantFault(t, err, fault.Permanent, "other_origin")
	}
	if n := len(srv.Seen()); n != 1 {
		t.Errorf("%d calls", n)
	}
}
