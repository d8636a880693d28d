package rest_test

import (
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/channels/rest"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/transport"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

func TestOnePageOfBadRecords(t *testing.T) {
	t.Parallel()
	records := []string{
		`{"id":"good","a":"x"}`,
		`{"a":"no id"}`,
		`{"id":null,"a":"x"}`,
		`{"id":"dup","a":"1"}`,
		`{"id":"dup","a":"2"}`,
		`{"id":"large","a":"` + strings.Repeat("x", 10<<20) + `"}`,
		`{"id":"nul","a":"x\u0000y"}`,
		"{\"id\":\"rawnul\",\"a\":\"x\x00y\"}",
		`{"id":"surrogate","a":"\udead"}`,
		"{\"id\":\"latin1\",\"a\":\"M\xfcnchen\"}",
		`{"id":"deep","a":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`,
		`{"id":18446744073709551615,"a":"big id"}`,
		`{"id":"last","a":"y"}`,
	}
	srv := tt.New(t, nil)
	srv.Handle("/x", tt.JSON(`{"items":[`+strings.Join(records, ",")+`]}`))
	con := open(t, settingsFor(srv.URL, `{"list":{"path":"/x","records":"items"}}`))
	pages, err := readAll(t, con, channels.ReadRequest{Fields: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	want := "good ! ! dup dup !large !nul !rawnul !surrogate !latin1 !deep 18446744073709551615 last"
	if got := idsOf(pages); got != want {
		t.Errorf("ids %s\nwant %s", got, want)
	}
	for _, r := range pages[0].Records {
		if (r.Raw == nil) != (r.ID == "large") {
			t.Errorf("%s: raw of %d bytes", r.ID, len(r.Raw))
		}
	}
}

func TestRemotesThatCannotBeReached(t *testing.T) {
	t.Parallel()
	up := tt.New(t, nil)
	down := tt.New(t, nil)
	down.Close()
	expired, _ := tt.NewTLS(t, tt.Certificate{Expired: true}, nil)
	wrong, _ := tt.NewTLS(t, tt.Certificate{WrongHost: true}, nil)
	selfSigned, _ := tt.NewTLS(t, tt.Certificate{}, nil)
	tests := []struct {
		name, base string
		guard      transport.Guard
		class      fault.Class
		code       string
	}{
		{"refused", down.URL, tt.Guard(), fault.Retryable, fault.CodeUnreachable},
		{"no such name", "https://no-such-host.invalid", tt.Guard(), fault.Retryable, fault.CodeUnreachable},
		{"expired", expired.URL, tt.Guard(), fault.Permanent, "tls"},
		{"wrong host", wrong.URL, tt.Guard(), fault.Permanent, "tls"},
		{"self-signed", selfSigned.URL, tt.Guard(), fault.Permanent, "tls"},
		{"outside of network.allow at dial", "http://rebind.example" + up.URL[strings.LastIndexByte(up.URL, ':'):], transport.Guard{AllowPlaintext: true}, fault.Permanent, fault.CodeNetwork},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := settingsFor(c.base, `{"list":{"path":"/x"}}`, `"token":"c4nary-token"`)
			s.Network = c.guard
			ch, err := rest.Type{Options: []transport.Option{noWait, transport.WithResolver(loopback{})}}.Open(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = ch.Close() })
			err = ch.Ping(t.Context())
			wantFault(t, err, c.class, c.code)
			if fault.HintOf(err) == "" || strings.Contains(err.Error(), "c4nary") {
				t.Errorf("%v, hint %q", err, fault.HintOf(err))
			}
		})
	}
	if n := len(up.Seen()); n > 0 {
		t.Errorf("%d calls came through", n)
	}
}

func TestRefusedBeforeAnyCall(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	s := settingsFor(srv.URL, `{"list":{"path":"/x"}}`)
	s.Network = transport.Guard{}
	_, err := rest.Type{}.Open(t.Context(), s)
	wantFault(t, err, fault.Permanent, fault.CodeConfig)
	if fault.WhereOf(err) != "transport.base_url" {
		t.Errorf("where %q", fault.WhereOf(err))
	}
}
