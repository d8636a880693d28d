package transport_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/transport"
	"github.com/tandem-sync/tandem/transport/transporttest"
)

func TestGuardRefusesWhatIsNotPublic(t *testing.T) {
	t.Parallel()
	for _, a := range []string{
		"127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
		"0.0.0.0", "100.64.0.1", "100.127.255.255", "198.18.0.1", "198.19.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1",
		"198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1",
		"2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "fc00::1", "fd12::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
	} {
		ap := netip.AddrPortFrom(netip.MustParseAddr(a), 443)
		err := transport.Guard{AllowPlaintext: true}.Check(ap, transport.Target{Port: 443})
		if fault.CodeOf(err) != fault.CodeNetwork || fault.Of(err) != fault.Permanent {
			t.Errorf("%s: %v, want a refusal", a, err)
		}
		all := transport.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}}
		if err := all.Check(netip.AddrPortFrom(netip.MustParseAddr(a), 22), transport.Target{Plaintext: true}); err != nil {
			t.Errorf("%s is allowed but refused: %v", a, err)
		}
	}
}

func TestGuardPorts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		addr      string
		port      uint16
		target    transport.Target
		plaintext bool
		ok        bool
	}{
		{"https default", "93.184.216.34", 443, transport.Target{Port: 443}, false, true},
		{"public v6", "2606:2800:220:1::1", 443, transport.Target{Port: 443}, false, true},
		{"http", "93.184.216.34", 80, transport.Target{Port: 80, Plaintext: true}, false, false},
		{"http on 443", "93.184.216.34", 443, transport.Target{Port: 443, Plaintext: true}, false, false},
		{"http where plain text is allowed", "93.184.216.34", 80, transport.Target{Port: 80, Plaintext: true}, true, true},
		{"another port", "93.184.216.34", 8443, transport.Target{Port: 8443}, false, false},
		{"a named port where plain text is allowed", "93.184.216.34", 8443, transport.Target{Port: 8443}, true, true},
		{"a port that is not named", "93.184.216.34", 22, transport.Target{Port: 443}, true, false},
		{"ssh", "93.184.216.34", 22, transport.Target{Port: 22}, false, false},
	}
	for _, tt := range tests {
		g := transport.Guard{AllowPlaintext: tt.plaintext}
		err := g.Check(netip.AddrPortFrom(netip.MustParseAddr(tt.addr), tt.port), tt.target)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v, want ok %t", tt.name, err, tt.ok)
		}
		if err != nil && fault.HintOf(err) == "" {
			t.Errorf("%s: the refusal has no hint", tt.name)
		}
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	loopback := transporttest.Guard()
	tests := []struct {
		url   string
		guard transport.Guard
		want  string // part of the message; "" is fine
	}{
		{"https://api.example.com", transport.Guard{}, ""},
		{"https://api.example.com/v1", transport.Guard{}, ""},
		{"http://127.0.0.1:8090", loopback, ""},
		{"http://localhost:8090", loopback, ""},
		{"http://localhost:8090", transport.Guard{}, "loopback"},
		{"https://db.localhost", transport.Guard{}, "loopback"},
		{"http://127.0.0.1", transport.Guard{}, "loopback"},
		{"https://[::ffff:127.0.0.1]", transport.Guard{}, "loopback"},
		{"https://127.1", loopback, "complete address"},
		{"https://2130706433", loopback, "complete address"},
		{"https://0x7f000001", loopback, "complete address"},
		{"https://0x7f.1", loopback, "complete address"},
		{"http://api.example.com", transport.Guard{}, "plain http"},
		{"http://api.example.com", transport.Guard{AllowPlaintext: true}, ""},
		{"ftp://api.example.com", transport.Guard{}, "scheme"},
		{"file:///etc/passwd", transport.Guard{}, "scheme"},
		{"gopher://x", transport.Guard{}, "scheme"},
		{"api.example.com", transport.Guard{}, "scheme"},
		{"https://", transport.Guard{}, "no host"},
		{"https://user:pw@api.example.com", transport.Guard{}, "user name"},
		{"https://api.example.com?key=1", transport.Guard{}, "query"},
		{"https://api.example.com:99999", transport.Guard{}, "port"},
		{"https://93.184.216.34:22", transport.Guard{}, "port 22"},
	}
	for _, tt := range tests {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		message, fix := tt.guard.CheckURL(u)
		if tt.want == "" && message != "" || !strings.Contains(message, tt.want) {
			t.Errorf("%s: %q, want %q", tt.url, message, tt.want)
		}
		if message != "" && fix == "" {
			t.Errorf("%s: no fix", tt.url)
		}
	}
}

// answers is a resolver that gives the next list at each look-up.
type answers struct{ lists [][]netip.Addr }

func (a *answers) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	next := a.lists[0]
	if len(a.lists) > 1 {
		a.lists = a.lists[1:]
	}
	return next, nil
}

// nowhere knows no name: tests must not depend on the DNS of the machine.
type nowhere struct{}

func (nowhere) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func addrs(texts ...string) []netip.Addr {
	out := make([]netip.Addr, len(texts))
	for i, x := range texts {
		out[i] = netip.MustParseAddr(x)
	}
	return out
}

func TestNameThatResolvesToPrivateIsRefusedAtDial(t *testing.T) {
	t.Parallel()
	reached := transporttest.New(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the server was reached") }))
	port := reached.URL[strings.LastIndexByte(reached.URL, ':'):]
	h, err := transport.NewHTTP(transport.HTTPConfig{BaseURL: mustURL(t, "http://rebind.example"+port)},
		transport.Guard{AllowPlaintext: true}, transport.WithResolver(&answers{[][]netip.Addr{addrs("127.0.0.1")}}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	_, err = h.Do(t.Context(), transport.Request{Op: "list", Path: "/x"})
	wantFault(t, err, fault.Permanent, fault.CodeNetwork)
}

func TestRebindingCannotReachWhatWasNotChecked(t *testing.T) {
	t.Parallel()
	r := &answers{[][]netip.Addr{addrs("127.0.0.1"), addrs("10.0.0.1")}}
	srv := transporttest.New(t, nil)
	srv.Handle("/x", transporttest.JSON(`{}`))
	h, err := transport.NewHTTP(transport.HTTPConfig{BaseURL: mustURL(t, "http://name.example"+srv.URL[strings.LastIndexByte(srv.URL, ':'):])},
		transporttest.Guard(), transport.WithResolver(r))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	if _, err := h.Do(t.Context(), transport.Request{Path: "/x"}); err != nil {
		t.Fatalf("the first dial: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = h.Do(t.Context(), transport.Request{Path: "/x"})
	wantFault(t, err, fault.Permanent, fault.CodeNetwork)
}

func TestPlaintextNeedsEveryAddressAllowed(t *testing.T) {
	t.Parallel()
	srv := transporttest.New(t, nil)
	_, port, _ := strings.Cut(strings.TrimPrefix(srv.URL, "http://"), ":")
	d := transport.Dialer{
		Guard: transporttest.Guard(), Target: transport.Target{Plaintext: true},
		Resolver: &answers{[][]netip.Addr{addrs("127.0.0.1", "10.0.0.1")}},
	}
	if conn, err := d.DialContext(t.Context(), "tcp", "mixed.example:"+port); err == nil {
		_ = conn.Close()
		t.Fatal("a host with an address outside of the list was dialled in plain text")
	}
	d.Target.Plaintext = false
	conn, err := d.DialContext(t.Context(), "tcp", "mixed.example:"+port)
	if err != nil {
		t.Fatalf("with TLS the allowed address must be dialled: %v", err)
	}
	_ = conn.Close()
}

func mustURL(tb testing.TB, s string) *url.URL {
	tb.Helper()
	u, err := url.Parse(s)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}
