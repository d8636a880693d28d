package rabbit_test

import (
	"maps"
	"net"
	"net/url"
	"sync"
	"testing"
)

// proxy stands between a client and the broker and breaks what passes.
type proxy struct {
	listener net.Listener
	upstream string
	running  sync.WaitGroup

	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	silent  map[net.Conn]struct{} // what they send is swallowed
	refuse  bool
	flowing chan struct{} // closed while bytes pass
	accepts int
}

// newProxy returns a proxy and the broker's URL with the proxy's address.
func newProxy(t testing.TB, amqpURL string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(amqpURL)
	check(t, err)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)
	p := &proxy{listener: l, upstream: u.Host, conns: map[net.Conn]struct{}{}, flowing: make(chan struct{})}
	close(p.flowing)
	p.running.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.resume()
		p.cut()
		p.running.Wait()
	})
	u.Host = l.Addr().String()
	return p, u.String()
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.accepts++
		if p.refuse {
			_ = client.Close()
			p.mu.Unlock()
			continue
		}
		server, err := net.Dial("tcp", p.upstream) //nolint:noctx // loopback
		if err != nil {
			_ = client.Close()
			p.mu.Unlock()
			continue
		}
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.running.Go(func() { p.pump(client, server) })
		p.running.Go(func() { p.pump(server, client) })
	}
}

func (p *proxy) pump(to, from net.Conn) {
	defer func() { _ = to.Close(); _ = from.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			p.mu.Lock()
			flowing := p.flowing
			_, swallowed := p.silent[from]
			p.mu.Unlock()
			if swallowed {
				continue
			}
			<-flowing
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// swallow lets nothing pass any more on the connections there are, and closes
// none of them, as a firewall does that has forgotten them. New ones work.
func (p *proxy) swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = maps.Clone(p.conns)
}

// cut closes every connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

// down refuses connections until up.
func (p *proxy) down() {
	p.mu.Lock()
	p.refuse = true
	p.mu.Unlock()
	p.cut()
}

func (p *proxy) up() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = false
}

// stall lets no byte pass, as a network that swallows packets does.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flowing = make(chan struct{})
}

func (p *proxy) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flowing:
	default:
		close(p.flowing)
	}
}

func (p *proxy) accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepts
}
