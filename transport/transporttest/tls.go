package transporttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// Certificate says what is wrong with a TLS server; the zero value is a good
// certificate for 127.0.0.1 of the server's own authority.
type Certificate struct {
	Expired    bool   // ended an hour ago
	WrongHost  bool   // made for another host
	MaxVersion uint16 // of TLS; 0 is the newest
}

// NewTLS starts a server with TLS on 127.0.0.1 and gives the pool that holds
// its authority, which no machine trusts by itself.
func NewTLS(tb testing.TB, c Certificate, rest http.Handler) (*Server, *x509.CertPool) {
	tb.Helper()
	pool, leaf, err := c.issue()
	if err != nil {
		tb.Fatalf("certificate: %v", err)
	}
	s := newServer(rest)
	s.Server = httptest.NewUnstartedServer(s)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{leaf}, MaxVersion: c.MaxVersion, MinVersion: tls.VersionTLS10} // #nosec G402 -- a client's refusal of old versions is what is tested
	s.Config.ErrorLog = log.New(io.Discard, "", 0)                                                                     // refused handshakes are what is tested
	s.StartTLS()
	tb.Cleanup(s.Close)
	return s, pool
}

func (c Certificate) issue() (*x509.CertPool, tls.Certificate, error) {
	now := time.Now()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "transporttest authority"},
		NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	root, err := x509.ParseCertificate(caDER)
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	leaf, err := c.leaf(root, caKey, now)
	return pool, leaf, err
}

func (c Certificate) leaf(root *x509.Certificate, caKey *ecdsa.PrivateKey, now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "transporttest"},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if c.Expired {
		cert.NotAfter = now.Add(-time.Hour)
	}
	if c.WrongHost {
		cert.IPAddresses, cert.DNSNames = nil, []string{"other.example"}
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, root, &key.PublicKey, caKey)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
