package rabbit

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tandem-sync/tandem/fault"
)

// dialLimit bounds connecting and the handshakes, where the context does not.
const dialLimit = 10 * time.Second

// address is where the broker is. The password is kept apart from the URI,
// because what is given to libraries as a URI may come back in their errors.
type address struct {
	uri   string // without user and password
	where string // host:port/vhost, for people
	sasl  []amqp.Authentication
	vhost string
	known *atomic.Bool // the broker let us in at least once
}

func parseAddress(raw string, allowPlaintext bool) (address, error) {
	const op = "rabbit: broker URL"
	uri, err := amqp.ParseURI(raw)
	u, urlErr := url.Parse(raw)
	if err != nil || urlErr != nil || u.Host == "" {
		// The cause quotes the URL, or the part of the password that it took for
		// a port: it must not be shown.
		return address{}, fault.New(fault.Permanent, fault.CodeConfig, op, "it cannot be read").
			WithHint("write amqps://USER:PASSWORD@HOST:5671/VHOST, with special characters of user, password and virtual host percent-encoded")
	}
	if uri.Scheme == "amqp" && !allowPlaintext && !loopback(uri.Host) {
		return address{}, fault.New(fault.Permanent, fault.CodeConfig, op,
			"amqp:// sends the password and every message to %s in the clear", uri.Host).
			WithHint("use amqps://, or allow plaintext on a network that is trusted (network.allow_plaintext)")
	}
	u.User = nil
	a := address{
		uri: u.String(), vhost: uri.Vhost, known: new(atomic.Bool),
		where: net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port)) + "/" + strings.TrimPrefix(uri.Vhost, "/"),
	}
	for _, mechanism := range uri.AuthMechanism {
		if !slices.Contains([]string{"PLAIN", "AMQPLAIN", "EXTERNAL"}, strings.ToUpper(mechanism)) {
			return address{}, fault.New(fault.Permanent, fault.CodeConfig, op, "unknown auth_mechanism").
				WithHint("known are plain, amqplain and external")
		}
		switch strings.ToUpper(mechanism) {
		case "AMQPLAIN":
			a.sasl = append(a.sasl, uri.AMQPlainAuth())
		case "EXTERNAL":
			a.sasl = append(a.sasl, &amqp.ExternalAuth{})
		default:
			a.sasl = append(a.sasl, uri.PlainAuth())
		}
	}
	if a.sasl == nil {
		a.sasl = []amqp.Authentication{uri.PlainAuth()}
	}
	return a, nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// config is what amqp091 needs beside the URI. dial makes the TCP connection.
func (a address) config(name string, dial func(network, addr string) (net.Conn, error)) amqp.Config {
	props := amqp.NewConnectionProperties()
	props.SetClientConnectionName(name)
	return amqp.Config{SASL: a.sasl, Vhost: a.vhost, Properties: props, Dial: dial}
}

// dialTCP connects within ctx and sets the deadline for the handshakes that
// follow; amqp091 lifts it once the connection is open.
func dialTCP(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: dialLimit}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(dialLimit)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d.Add(100 * time.Millisecond) // the context is to be seen first
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// silentRefusal is how long RabbitMQ waits before it closes a connection whose
// login it refused; amqp091 does not ask to be told why.
const silentRefusal = 3 * time.Second

// dialError classes an error of connecting that came took after its beginning.
// amqp091 says "no access" whenever a connection ends during the handshake, and
// a cut network must not be taken for a wrong password: what counts is what the
// broker said itself, or the silence it refuses a login with, unless it has let
// us in before.
func (a address) dialError(op string, took time.Duration, err error) error {
	var e *amqp.Error
	silent := errors.Is(err, amqp.ErrCredentials) && !a.known.Load() &&
		took > silentRefusal-500*time.Millisecond && took < dialLimit-time.Second
	if silent || errors.Is(err, amqp.ErrSASL) ||
		errors.As(err, &e) && e.Server && (e.Code == amqp.AccessRefused || e.Code == amqp.NotAllowed) {
		return fault.New(fault.Permanent, fault.CodeConfig, op, "RabbitMQ at %s refused the user, the password or the virtual host: %w", a.where, err).
			WithHint("check the broker URL, and that the user has permissions on the virtual host")
	}
	if errors.Is(err, amqp.ErrVhost) || errors.Is(err, amqp.ErrCredentials) {
		err = errors.New("the connection ended during the handshake")
	}
	return fault.New(fault.Retryable, fault.CodeUnreachable, op, "RabbitMQ at %s: %w", a.where, err).
		WithHint("check that RabbitMQ runs and that the broker URL is right")
}
