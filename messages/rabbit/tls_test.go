package rabbit_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/messages/rabbit"
)

// TestBrokerMustProveItself: with amqps:// a broker whose certificate nobody
// vouches for gets neither the password nor a message.
func TestBrokerMustProveItself(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(nil) // its certificate is its own authority
	t.Cleanup(srv.Close)
	b := opened(t, rabbit.Config{URL: "amqps://tandem:s3cr3t-canary@" + strings.TrimPrefix(srv.URL, "https://") + "/"})
	err := b.Ready(t.Context())
	if err == nil || !strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error()+fault.HintOf(err), "canary") {
		t.Errorf("got %v", err)
	}
}
