package fleet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/internal/demo"
	"github.com/tandem-sync/tandem/internal/testenv"
)

// authority is a certificate authority of one test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate, for those who trust it
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t), file: filepath.Join(t.TempDir(), "ca.pem")}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the authority of a test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der := must(x509.CreateCertificate(rand.Reader, form, form, &a.key.PublicKey, a.key))(t)
	a.cert = must(x509.ParseCertificate(der))(t)
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// vouch makes a certificate for a host.
func (a *authority) vouch(host string) tls.Certificate {
	a.t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(a.t)
	form := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	return tls.Certificate{Certificate: [][]byte{must(x509.CreateCertificate(rand.Reader, form, a.cert, &key.PublicKey, a.key))(a.t)}, PrivateKey: key}
}

// front is a server's TLS: it proves itself with a certificate, and what is said
// to it goes on to the server behind.
type front struct {
	l       net.Listener
	trusted atomic.Int64 // connections of those who took the certificate
	mu      sync.Mutex
	open    []net.Conn
	wg      sync.WaitGroup
}

func newFront(t *testing.T, behind string, cert tls.Certificate, hello func(net.Conn) error) *front {
	t.Helper()
	f := &front{l: must((&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0"))(t)}
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	f.wg.Go(func() {
		for {
			c, err := f.l.Accept()
			if err != nil {
				return
			}
			f.wg.Go(func() { f.serve(c, behind, cfg, hello) })
		}
	})
	t.Cleanup(func() {
		_ = f.l.Close()
		f.mu.Lock()
		for _, c := range f.open {
			_ = c.Close()
		}
		f.mu.Unlock()
		f.wg.Wait()
	})
	return f
}

func (f *front) serve(c net.Conn, behind string, cfg *tls.Config, hello func(net.Conn) error) {
	defer c.Close() //nolint:errcheck // its end is what matters
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if hello != nil && hello(c) != nil {
		return
	}
	secure := tls.Server(c, cfg)
	if secure.Handshake() != nil { //nolint:noctx // bounded by the deadline
		return
	}
	f.trusted.Add(1)
	s, err := net.Dial("tcp", behind) //nolint:noctx // this machine
	if err != nil {
		return
	}
	_ = c.SetDeadline(time.Time{})
	f.mu.Lock()
	f.open = append(f.open, c, s)
	f.mu.Unlock()
	f.wg.Go(func() {
		_, _ = io.Copy(secure, s) // ends when either side does
		_ = c.Close()
	})
	_, _ = io.Copy(s, secure)
	_ = s.Close()
}

// postgresHello answers the question for TLS that PostgreSQL's clients ask first.
func postgresHello(c net.Conn) error {
	if _, err := io.ReadFull(c, make([]byte, 8)); err != nil {
		return err
	}
	_, err := c.Write([]byte("S"))
	return err
}

// TestServersProveTheirNames: the database and the broker are reached over TLS
// with an authority of one's own; when that vouches for them under another name,
// they are refused before a password is sent.
func TestServersProveTheirNames(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	r := newRemote(t, demo.Options{Contacts: 20, Seed: 54})
	for name, right := range map[string]bool{"localhost": true, "other.example.com": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database, broker := testenv.Postgres(t), testenv.RabbitMQ(t)
			via := func(f *front) string {
				_, port, err := net.SplitHostPort(f.l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				return "localhost:" + port
			}
			pg := newFront(t, must(url.Parse(database))(t).Host, ca.vouch(name), postgresHello)
			mq := newFront(t, must(url.Parse(broker))(t).Host, ca.vouch(name), nil)
			secureDB := changed(t, database, func(u *url.URL) {
				u.Host = via(pg)
				u.RawQuery = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {ca.file}}.Encode()
			})
			secureMQ := changed(t, broker, func(u *url.URL) { u.Scheme, u.Host = "amqps", via(mq) })
			if right {
				w := newWorld(t, secureDB, secureMQ, r)
				w.env = append(w.env, "SSL_CERT_FILE="+ca.file)
				w.must("migrate")
				w.must("apply")
				w.control()
				p := w.worker()
				w.database = database // for the test itself
				w.counted(w.finished(w.begin(`{}`).ID), 20, 20)
				p.signal(syscall.SIGTERM)
				if code := p.exit(time.Minute); code != 0 {
					t.Errorf("exit code %d", code)
				}
				if pg.trusted.Load() == 0 || mq.trusted.Load() == 0 {
					t.Error("nothing went over TLS: this test proves nothing")
				}
				return
			}
			w := newWorld(t, database, secureMQ, r)
			w.env = append(w.env, "SSL_CERT_FILE="+ca.file)
			w.must("migrate")
			w.must("apply")
			refused := func(f failure) {
				t.Helper()
				if !strings.Contains(f.Error.Message, name) || !strings.Contains(f.Error.Message, "localhost") {
					t.Errorf("the names are not told: %+v", f.Error)
				}
			}
			refused(w.fails(3, "unreachable", "run", "--roles", "worker"))
			w = newWorld(t, secureDB, broker, r)
			refused(w.fails(3, "unreachable", "migrate"))
			if n := pg.trusted.Load() + mq.trusted.Load(); n != 0 {
				t.Errorf("%d connections went through", n)
			}
		})
	}
}
