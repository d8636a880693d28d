package transport_test

import (
	"net"
	"net/http"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/transport"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

func TestSentTellsWhatMayHaveBeenCarriedOut(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		steps   []tt.Step
		safe    bool
		calls   int
		reached bool
		class   fault.Class // Unknown: it succeeds
	}{
		{"success", []tt.Step{tt.JSON("{}")}, false, 1, true, fault.Unknown},
		{"no answer is not repeated", []tt.Step{tt.Reset(), tt.JSON("{}")}, false, 1, true, fault.Retryable},
		{"a failure of the remote is not repeated", []tt.Step{tt.Status(503), tt.JSON("{}")}, false, 1, true, fault.Retryable},
		{"a wish to wait is repeated", []tt.Step{tt.Status(429), tt.JSON("{}")}, false, 2, true, fault.Unknown},
		{"a long wish to wait is handed on", []tt.Step{tt.Status(429, "Retry-After", "60")}, false, 1, false, fault.RateLimited},
		{"a loss after a wish to wait", []tt.Step{tt.Status(429), tt.Reset(), tt.JSON("{}")}, false, 2, true, fault.Retryable},
		{"safe calls are repeated", []tt.Step{tt.Status(503), tt.JSON("{}")}, true, 2, true, fault.Unknown},
		{"a safe call that is turned away", []tt.Step{tt.Status(429, "Retry-After", "60")}, true, 1, false, fault.RateLimited},
		{"a safe call that is turned away after a loss", []tt.Step{tt.Reset(), tt.Status(429, "Retry-After", "60")}, true, 2, true, fault.RateLimited},
		{"a credential that is refused", []tt.Step{tt.Status(401)}, false, 1, false, fault.Permanent},
		{"a refusal", []tt.Step{tt.Status(422)}, false, 1, true, fault.Permanent},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := tt.New(t, nil)
			srv.Handle("/x", c.steps...)
			h := client(t, srv.URL, nil, transport.WithRand(func() float64 { return 0 }))
			var sent transport.Sent
			_, err := h.Do(t.Context(), transport.Request{Method: http.MethodPost, Path: "/x", Body: []byte("{}"), Safe: c.safe, Sent: &sent})
			if fault.Of(err) != c.class || (err == nil) != (c.class == fault.Unknown) {
				t.Errorf("error %v, want class %s", err, c.class)
			}
			if sent.Reached() != c.reached || len(srv.Seen()) != c.calls {
				t.Errorf("reached %t after %d calls, want %t after %d", sent.Reached(), len(srv.Seen()), c.reached, c.calls)
			}
		})
	}
}

func TestSentNothingWithoutAConnection(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var sent transport.Sent
	_, err = client(t, address, nil, transport.WithRand(func() float64 { return 0 })).Do(t.Context(), transport.Request{Method: http.MethodPost, Sent: &sent})
	if fault.CodeOf(err) != fault.CodeUnreachable || sent.Reached() {
		t.Errorf("%v, reached %t", err, sent.Reached())
	}
}

func TestHeadersOfACall(t *testing.T) {
	t.Parallel()
	got := make(chan http.Header, 1)
	srv := tt.New(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Clone() }))
	h := client(t, srv.URL, nil)
	_, err := h.Do(t.Context(), transport.Request{Header: http.Header{"idempotency-key": {"k1"}, "Authorization": {"other"}}})
	if err != nil {
		t.Fatal(err)
	}
	if x := <-got; x.Get("Idempotency-Key") != "k1" || x.Get("Authorization") != "Bearer "+canary {
		t.Errorf("headers %v", x)
	}
}
