package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/tandem-sync/tandem/fault"
)

// Resolver finds the addresses of a name; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Dialer dials only what its guard allows. It resolves a name once and dials
// the very addresses it has checked, so that an answer that changes between
// check and dial (DNS rebinding) changes nothing. Safe for concurrent use.
type Dialer struct {
	Guard    Guard
	Target   Target
	Resolver Resolver // nil is net.DefaultResolver
}

// connectTimeout bounds one connection attempt to one address.
const connectTimeout = 5 * time.Second

// DialContext dials addr, "host:port". With plain text every address of the
// host must be allowed; with TLS those that are not allowed are left out.
func (d Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := hostPort(addr)
	if err != nil {
		return nil, err
	}
	addrs, err := d.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	good, refused := d.split(addrs, port)
	if refused != nil && (len(good) == 0 || d.Target.Plaintext) {
		return nil, refused
	}
	var last error
	for _, a := range good {
		conn, err := dialOne(ctx, network, a)
		if err == nil {
			return conn, nil
		}
		last = err
		if ctx.Err() != nil {
			break
		}
	}
	return nil, last
}

func (d Dialer) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	var r Resolver = net.DefaultResolver
	if d.Resolver != nil {
		r = d.Resolver
	}
	addrs, err := r.LookupNetIP(ctx, "ip", host)
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	return addrs, err
}

func (d Dialer) split(addrs []netip.Addr, port uint16) (good []netip.AddrPort, refused error) {
	for _, a := range addrs {
		ap := netip.AddrPortFrom(a.Unmap(), port)
		if err := d.Guard.Check(ap, d.Target); err != nil {
			refused = err
			continue
		}
		good = append(good, ap)
	}
	return good, refused
}

func dialOne(ctx context.Context, network string, a netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var nd net.Dialer
	return nd.DialContext(ctx, network, a.String())
}

// guardRefused gives the guard's refusal out of a dial error.
func guardRefused(err error) (*fault.Error, bool) {
	var f *fault.Error
	ok := errors.As(err, &f) && f.Code == fault.CodeNetwork
	return f, ok
}
