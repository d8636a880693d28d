package store_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/store"
)

// TestPlaintextPostgresIsForTrustedNetworks: a PostgreSQL elsewhere must prove
// who it is before it gets a password. What is refused is refused before
// anything is dialled; the others only get as far as the network, which this
// test does not need: its context has ended.
func TestPlaintextPostgresIsForTrustedNetworks(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		host, options string
		ok            bool
	}{
		{"db.example.com", "sslmode=disable", false},
		{"db.example.com", "sslmode=allow", false},
		{"db.example.com", "sslmode=prefer", false},
		{"db.example.com", "sslmode=require", false},
		{"db.example.com", "sslmode=verify-ca", false},
		{"db.example.com", "", false},
		{"db.example.com", "sslmode=verify-full", true},
		{"10.0.0.1", "sslmode=disable", false},
		{"localhost.example.com", "sslmode=disable", false},
		{"", "host=db.example.com&sslmode=disable", false},
		{"localhost", "hostaddr=10.0.0.1&sslmode=disable", false},
		{"127.0.0.1,db.example.com", "sslmode=disable", false},
		{"", "host=/run/none,db.example.com", false},
		{"localhost", "sslmode=disable", true},
		{"127.0.0.1", "sslmode=disable", true},
		{"[::1]", "sslmode=disable", true},
		{"", "host=/run/none", true},
	} {
		address := "postgres://u:s3cr%2Ft@" + c.host + "/x?" + c.options
		_, err := store.Open(ended, store.Config{URL: address})
		refused := fault.CodeOf(err) == fault.CodeConfig && fault.Of(err) == fault.Permanent &&
			strings.Contains(fault.HintOf(err), "sslmode=verify-full") && strings.Contains(fault.HintOf(err), "network.allow_plaintext")
		if err == nil || refused == c.ok {
			t.Errorf("%s: %v, hint %q, want it dialled: %t", address, err, fault.HintOf(err), c.ok)
		}
		if strings.Contains(err.Error()+fault.HintOf(err), "s3cr") {
			t.Errorf("the password is in %v", err)
		}
		if _, err := store.Open(ended, store.Config{URL: address, AllowPlaintext: true}); fault.CodeOf(err) == fault.CodeConfig {
			t.Errorf("%s with AllowPlaintext: %v", address, err)
		}
	}
}

// TestVerifyFullNeedsTLS: a server without TLS gets no password of a connection
// that asks for verify-full.
func TestVerifyFullNeedsTLS(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("sslmode", "verify-full")
	u.RawQuery = q.Encode()
	if db, err := store.Open(t.Context(), store.Config{URL: u.String()}); err == nil {
		_ = db.Close()
		t.Fatal("a server without TLS was taken")
	} else if !strings.Contains(err.Error(), "SSL") {
		t.Errorf("%v", err)
	}
}
