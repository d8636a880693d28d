package transport_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/transport"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

// told gives stages as "name connect! ..." with an exclamation mark for errors.
func told(stages []transport.Stage) string {
	var out []string
	for _, s := range stages {
		name := s.Name
		if s.Err != nil {
			name += "!" + fault.CodeOf(s.Err)
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

func TestStages(t *testing.T) {
	t.Parallel()
	plain := tt.New(t, nil)
	good, pool := tt.NewTLS(t, tt.Certificate{}, nil)
	expired, expiredPool := tt.NewTLS(t, tt.Certificate{Expired: true}, nil)
	gone := tt.New(t, nil)
	gone.Close()
	private := transport.WithResolver(&answers{[][]netip.Addr{addrs("10.0.0.1")}})
	tests := []struct {
		name, base, want string
		opts             []transport.Option
	}{
		{"plain", plain.URL, "name connect", nil},
		{"tls", good.URL, "name connect tls", []transport.Option{transport.WithRoots(pool)}},
		{"self-signed", good.URL, "name connect tls!tls", nil},
		{"expired", expired.URL, "name connect tls!tls", []transport.Option{transport.WithRoots(expiredPool)}},
		{"no TLS there", strings.Replace(plain.URL, "http", "https", 1), "name connect tls!tls", nil},
		{"refused", gone.URL, "name connect!unreachable", nil},
		{"private", "https://private.example", "name connect!network", []transport.Option{private}},
		{"no such name", "https://no-such-host.invalid", "name!unreachable", []transport.Option{transport.WithResolver(nowhere{})}},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			stages := client(t, c.base, nil, c.opts...).Stages(t.Context())
			if got := told(stages); got != c.want {
				t.Errorf("%s, want %s: %+v", got, c.want, stages)
			}
			for _, s := range stages {
				if s.Err != nil && fault.HintOf(s.Err) == "" || s.Err == nil && s.Message == "" {
					t.Errorf("%+v says too little", s)
				}
			}
		})
	}
	if n := len(plain.Seen()); n > 0 {
		t.Errorf("%d requests were made", n)
	}
}
