package hubspot_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/channels/hubspot"
	emulator "github.com/tandem-sync/tandem/emulate/hubspot"
	"github.com/tandem-sync/tandem/sync/record"
	"github.com/tandem-sync/tandem/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// token is a secret that no error may hold.
const token = "pat-eu1-5ec2e7c0-dead-beef-cafe-0123456789ab"

// morning is when the emulated accounts begin.
var morning = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

var fields = []string{"email", "firstname", "lastname", "phone"}

// waiting is a clock that moves only by waits, which are over at once.
type waiting struct {
	mu    sync.Mutex
	slept time.Duration
}

func (w *waiting) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return morning.Add(w.slept)
}

func (w *waiting) Sleep(ctx context.Context, d time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slept += max(d, 0)
	return ctx.Err()
}

// account is an emulated account with a channel to it.
type account struct {
	*emulator.Portal
	url   string
	clock *waiting
	ch    *hubspot.Channel
	c     channels.Connector
}

// open starts an account and opens a channel to it. remote is the connector's
// remote settings, "" for none.
func open(tb testing.TB, conf emulator.Config, remote string) *account {
	tb.Helper()
	conf.Token = token
	if conf.Now == nil {
		conf.Now = func() time.Time { return morning }
	}
	if conf.Limits == (emulator.Limits{}) {
		conf.Limits = emulator.Unlimited
	}
	p := emulator.New(conf)
	srv := httptest.NewServer(p)
	tb.Cleanup(srv.Close)
	return connect(tb, p, srv.URL, "", remote)
}

// connect opens a channel to the portal at url, with more transport settings.
func connect(tb testing.TB, p *emulator.Portal, url, more, remote string) *account {
	tb.Helper()
	clock := &waiting{}
	typ := hubspot.Type{Clock: clock, SearchRate: transport.Rate{N: 10_000, Per: time.Second}}
	ch, err := typ.Open(tb.Context(), settings(url, more, remote))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := ch.Close(); err != nil {
			tb.Error(err)
		}
	})
	c, err := ch.Connector("contacts")
	if err != nil {
		tb.Fatal(err)
	}
	return &account{Portal: p, url: url, clock: clock, ch: ch.(*hubspot.Channel), c: c}
}

func settings(url, more, remote string) channels.Settings {
	s := channels.Settings{
		Channel:    "crm",
		Transport:  json.RawMessage(fmt.Sprintf(`{"base_url":%q,"token":%q,"rate_limit":"10000/s"%s}`, url, token, more)),
		Connectors: []channels.ConnectorSettings{{Name: "contacts"}},
		Network:    transport.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	}
	if remote != "" {
		s.Connectors[0].Remote = json.RawMessage(remote)
	}
	return s
}

// reader opens a listing.
func (a *account) reader(tb testing.TB, req channels.ReadRequest) channels.Reader {
	tb.Helper()
	if req.Fields == nil {
		req.Fields = fields
	}
	r, err := a.c.Reader(tb.Context(), req)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// all reads a listing to its end.
func (a *account) all(tb testing.TB, req channels.ReadRequest) []record.Record {
	tb.Helper()
	r := a.reader(tb, req)
	defer func() { _ = r.Close() }()
	var out []record.Record
	for {
		page, err := r.ReadPage(tb.Context())
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, page.Records...)
		if len(out) > 1_000_000 {
			tb.Fatal("the listing does not end")
		}
	}
}

// byID indexes records; a record that comes twice is an error.
func byID(tb testing.TB, recs []record.Record) map[string]record.Record {
	tb.Helper()
	out := make(map[string]record.Record, len(recs))
	for _, r := range recs {
		if _, ok := out[r.ID]; ok {
			tb.Errorf("record %s came twice", r.ID)
		}
		if r.Err != nil {
			tb.Errorf("record %s: %v", r.ID, r.Err)
		}
		out[r.ID] = r
	}
	return out
}
