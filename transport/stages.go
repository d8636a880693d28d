package transport

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/fault"
)

// Stage is one step of reaching a remote.
type Stage struct {
	Name    string // "name", "connect", "tls"
	Message string // what was found, when Err is nil
	Err     error
}

// Stages reaches the remote step by step, without a request and outside of the
// limits: name, connect and, for https, tls. It stops after the first failure.
func (h *HTTP) Stages(ctx context.Context) []Stage {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Timeout)
	defer cancel()
	host := h.cfg.BaseURL.Hostname()
	addrs, err := h.dialer.resolve(ctx, host)
	if err != nil {
		return []Stage{{Name: "name", Err: h.stageError(ctx, "name", err)}}
	}
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = a.Unmap().String()
	}
	out := []Stage{{Name: "name", Message: host + " is " + strings.Join(texts, ", ")}}
	conn, err := h.dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(h.dialer.Target.Port))))
	if err != nil {
		return append(out, Stage{Name: "connect", Err: h.stageError(ctx, "connect", err)})
	}
	defer func() { _ = conn.Close() }()
	out = append(out, Stage{Name: "connect", Message: "connected to " + conn.RemoteAddr().String()})
	if h.dialer.Target.Plaintext {
		return out
	}
	return append(out, h.handshake(ctx, host, conn))
}

func (h *HTTP) handshake(ctx context.Context, host string, conn net.Conn) Stage {
	cfg := h.tls.Clone()
	cfg.ServerName = host
	c := tls.Client(conn, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		return Stage{Name: "tls", Err: h.stageError(ctx, "tls", err)}
	}
	state := c.ConnectionState()
	message := tls.VersionName(state.Version)
	if len(state.PeerCertificates) > 0 {
		message += ", certificate valid until " + state.PeerCertificates[0].NotAfter.UTC().Format(time.DateOnly)
	}
	return Stage{Name: "tls", Message: message}
}

func (h *HTTP) stageError(ctx context.Context, op string, err error) error {
	if op == "tls" && ctx.Err() == nil && !isTLS(err) {
		// The connection ended inside the handshake: not a TLS server.
		return h.errorf(fault.Permanent, "tls", Request{Op: op}, h.cfg.BaseURL, "TLS: %s", short(strip(err))).WithHint(tlsHint(err))
	}
	return h.sendError(context.WithoutCancel(ctx), ctx, Request{Op: op}, h.cfg.BaseURL, err)
}
