package store_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between lib/pq and PostgreSQL, reads the messages of both and
// can break the connection at a given one.
type proxy struct {
	tb     testing.TB
	target string
	ln     net.Listener
	wg     sync.WaitGroup
	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
	plan   *cut
}

// cut says where to break: at the message that runs a statement containing
// text. The statement reaches the server unless lost is set; its answer never
// reaches the client.
type cut struct {
	text string
	lost bool
	hit  atomic.Bool
}

// newProxy gives a proxy before the database of address, and its own address.
func newProxy(tb testing.TB, address string) (p *proxy, proxied string) {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p = &proxy{tb: tb, target: u.Host, ln: ln, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	tb.Cleanup(p.close)
	u.Host = ln.Addr().String()
	return p, u.String()
}

// arm sets the next place to break; it breaks once.
func (p *proxy) arm(text string, lost bool) *cut {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan = &cut{text: text, lost: lost}
	return p.plan
}

func (p *proxy) take(statement string) *cut {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.plan
	if c == nil || !strings.Contains(statement, c.text) {
		return nil
	}
	p.plan = nil
	c.hit.Store(true)
	return c
}

func (p *proxy) track(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Close()
	}
	p.conns[c] = true
}

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	_ = p.ln.Close()
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			p.tb.Errorf("proxy: %v", err)
			_ = client.Close()
			return
		}
		p.track(client)
		p.track(server)
		l := &line{p: p, client: client, server: server}
		p.wg.Go(l.forward)
		p.wg.Go(l.backward)
	}
}

// line is one connection through the proxy.
type line struct {
	p              *proxy
	client, server net.Conn
	dropping       atomic.Bool
}

func (l *line) end() {
	_ = l.client.Close()
	_ = l.server.Close()
}

// forward passes the client's messages on. The first has no type.
func (l *line) forward() {
	defer l.end()
	r := bufio.NewReader(l.client)
	if !pass(r, l.server) {
		return
	}
	prepared := ""
	for {
		kind, body, err := message(r)
		if err != nil {
			return
		}
		statement := ""
		switch kind {
		case 'Q':
			statement = string(body)
		case 'P':
			prepared = string(body)
		case 'E':
			statement = prepared
		}
		if c := l.p.take(statement); statement != "" && c != nil {
			if c.lost {
				return
			}
			l.dropping.Store(true)
		}
		if _, err := l.server.Write(frame(kind, body)); err != nil {
			return
		}
	}
}

// backward passes the server's messages on; when it is to drop an answer it
// waits for its end, so that the server has done everything, and breaks.
func (l *line) backward() {
	defer l.end()
	r := bufio.NewReader(l.server)
	for {
		kind, body, err := message(r)
		if err != nil {
			return
		}
		if l.dropping.Load() {
			if kind == 'Z' {
				return
			}
			continue
		}
		if _, err := l.client.Write(frame(kind, body)); err != nil {
			return
		}
	}
}

// pass copies one message without a type.
func pass(r *bufio.Reader, w io.Writer) bool {
	head, err := r.Peek(4)
	if err != nil {
		return false
	}
	body := make([]byte, binary.BigEndian.Uint32(head))
	if _, err := io.ReadFull(r, body); err != nil {
		return false
	}
	_, err = w.Write(body)
	return err == nil
}

func message(r *bufio.Reader) (kind byte, body []byte, err error) {
	if kind, err = r.ReadByte(); err != nil {
		return 0, nil, err
	}
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:])) - 4
	if n < 0 {
		return 0, nil, errors.New("bad length")
	}
	body = make([]byte, n)
	_, err = io.ReadFull(r, body)
	return kind, body, err
}

func frame(kind byte, body []byte) []byte {
	out := make([]byte, 5, 5+len(body))
	out[0] = kind
	binary.BigEndian.PutUint32(out[1:], uint32(len(body)+4))
	return append(out, body...)
}
