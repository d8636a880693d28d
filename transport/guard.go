// Package transport is how channel types talk to the outside: the network
// guard and an HTTP client with authentication, limits and one retry layer.
package transport

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-sync/tandem/fault"
)

// Guard says which addresses may be dialled. It belongs to the deployment and
// is never changed by an API. The zero value allows public addresses over TLS
// on port 443 only.
type Guard struct {
	// Allow lists prefixes in which loopback, private and reserved addresses
	// may be dialled, on any port, with or without TLS.
	Allow []netip.Prefix
	// AllowPlaintext permits http:// to public addresses, and there port 80
	// and the port that base_url names.
	AllowPlaintext bool
	// Answered, when set, is told the class of every answer of a remote, "2xx"
	// to "5xx", or "error" when none came. It returns at once.
	Answered func(class string)
}

// answered tells what became of a request; r is nil without an answer.
func (g Guard) answered(r *http.Response) {
	switch {
	case g.Answered == nil:
	case r == nil:
		g.Answered("error")
	default:
		g.Answered(strconv.Itoa(r.StatusCode/100) + "xx")
	}
}

// reserved lists the IPv4 prefixes that are not public; netip's own IsPrivate
// and IsGlobalUnicast let shared, benchmarking and future-use ranges through.
// From the IANA special-purpose registries.
var reserved = prefixes(
	"0.0.0.0/8",       // this network
	"10.0.0.0/8",      // private
	"100.64.0.0/10",   // shared, carrier-grade NAT
	"127.0.0.0/8",     // loopback
	"169.254.0.0/16",  // link-local, cloud metadata
	"172.16.0.0/12",   // private
	"192.0.0.0/24",    // protocol assignments
	"192.0.2.0/24",    // documentation
	"192.88.99.0/24",  // 6to4 relays
	"192.168.0.0/16",  // private
	"198.18.0.0/15",   // benchmarking
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"224.0.0.0/4",     // multicast
	"240.0.0.0/4",     // future use, broadcast
	"2001::/23",       // protocol assignments with Teredo and ORCHID
	"2001:db8::/32",   // documentation
	"2002::/16",       // 6to4: can carry any IPv4 address
	"3fff::/20",       // documentation
)

// publicV6 is the only part of IPv6 that is assigned for global use: loopback,
// mapped, NAT64, unique local, link-local and multicast lie outside of it.
var publicV6 = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

// Public reports whether a is an address of the public internet. An IPv4
// address mapped into IPv6 counts as the IPv4 address.
func Public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || a.Is6() && !publicV6.Contains(a) {
		return false
	}
	return !slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Allowed reports whether a lies in one of the allowed prefixes.
func (g Guard) Allowed(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(g.Allow, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Target is what a dial is for: the port that the configuration names and
// whether the connection will carry plain text.
type Target struct {
	Port      uint16 // the port of base_url
	Plaintext bool   // http, not https
}

// Check says whether addr may be dialled for t. The refusal is Permanent with
// code network.
func (g Guard) Check(addr netip.AddrPort, t Target) error {
	a := addr.Addr()
	if g.Allowed(a) {
		return nil
	}
	if !Public(a) {
		return refuse("add "+single(a)+" to network.allow if this address is meant", "address %s, which is loopback, private or reserved", a)
	}
	if t.Plaintext && !g.AllowPlaintext {
		return refuse("use https://, or set network.allow_plaintext", "plain http to %s", a)
	}
	switch port := addr.Port(); {
	case port == 443:
		return nil
	case g.AllowPlaintext && (port == 80 || port == t.Port):
		return nil
	default:
		return refuse("use port 443, or allow the address in network.allow", "port %d of %s", port, a)
	}
}

func single(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen()).String()
}

func refuse(hint, format string, args ...any) error {
	return fault.New(fault.Permanent, fault.CodeNetwork, "", "the network guard refuses "+format, args...).WithHint(hint)
}

// CheckURL says, without any network, why u cannot be used as a base address:
// the message and the fix, both empty when nothing is wrong. What depends on a
// name's addresses is decided at dial time.
func (g Guard) CheckURL(u *url.URL) (message, fix string) {
	host := u.Hostname()
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return "the scheme must be https or http", "for example https://api.example.com"
	case host == "":
		return "has no host", "for example https://api.example.com"
	case u.User != nil:
		return "must not hold a user name or password", "move them to transport.auth"
	case u.RawQuery != "" || u.Fragment != "":
		return "must not hold a query or fragment", "move the query to the connector's list.query"
	case u.Port() != "" && Port(u) == 0:
		return "the port is not a number from 1 to 65535", "for example https://api.example.com:443"
	}
	t := Target{Port: Port(u), Plaintext: u.Scheme == "http"}
	if a, err := netip.ParseAddr(host); err == nil {
		if err := g.Check(netip.AddrPortFrom(a, t.Port), t); err != nil {
			return err.Error(), fault.HintOf(err)
		}
		return "", ""
	}
	return g.checkName(host, t)
}

func (g Guard) checkName(host string, t Target) (message, fix string) {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	last := name[strings.LastIndexByte(name, '.')+1:]
	loopback := name == "localhost" || strings.HasSuffix(name, ".localhost")
	switch {
	case numeric(last):
		// Some resolvers read 127.1, 2130706433 or 0x7f000001 as addresses.
		return "is neither a host name nor a complete address", "write all four numbers of the address"
	case loopback && !g.Allowed(netip.MustParseAddr("127.0.0.1")) && !g.Allowed(netip.IPv6Loopback()):
		return "the network guard refuses loopback addresses", "add 127.0.0.0/8 to network.allow if this address is meant"
	case t.Plaintext && !g.AllowPlaintext && len(g.Allow) == 0:
		return "the network guard refuses plain http", "use https://, or set network.allow_plaintext"
	}
	return "", ""
}

func numeric(label string) bool {
	if _, err := strconv.ParseUint(label, 10, 64); err == nil {
		return true
	}
	if !strings.HasPrefix(label, "0x") {
		return false
	}
	_, err := strconv.ParseUint(label[2:], 16, 64)
	return err == nil || label == "0x"
}

// Port gives the port of u: its own, or the scheme's. 0 means it is not valid.
func Port(u *url.URL) uint16 {
	switch {
	case u.Port() != "":
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil {
			return 0
		}
		return uint16(n)
	case u.Scheme == "http":
		return 80
	}
	return 443
}

// SameOrigin reports whether both have the same scheme, host and port.
func SameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && Port(a) == Port(b)
}

// hostPort splits what http.Transport asks to dial.
func hostPort(addr string) (string, uint16, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return host, uint16(n), err
}
