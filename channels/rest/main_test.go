package rest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/channels/rest"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
	"github.com/tandem-sync/tandem/transport"
	"github.com/tandem-sync/tandem/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// settingsFor makes a channel with one connector "contacts".
func settingsFor(address, remote string, more ...string) channels.Settings {
	return channels.Settings{
		Channel:    "crm",
		Transport:  json.RawMessage(`{` + strings.Join(append([]string{fmt.Sprintf(`"base_url":%q`, address)}, more...), ",") + `}`),
		Connectors: []channels.ConnectorSettings{{Name: "contacts", Remote: json.RawMessage(remote)}},
		Network:    transporttest.Guard(),
	}
}

// noWait lets the client's repeats follow each other at once.
var noWait = transport.WithRand(func() float64 { return 0 })

func open(tb testing.TB, s channels.Settings) channels.Connector {
	tb.Helper()
	ch, err := rest.Type{Options: []transport.Option{noWait}}.Open(tb.Context(), s)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = ch.Close() })
	c, err := ch.Connector("contacts")
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// readAll reads a listing to its end or to its first error.
func readAll(tb testing.TB, c channels.Connector, req channels.ReadRequest) ([]channels.Page, error) {
	tb.Helper()
	r, err := c.Reader(tb.Context(), req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	var out []channels.Page
	for len(out) < 1000 {
		p, err := r.ReadPage(tb.Context())
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, p)
	}
	tb.Fatal("the listing does not end")
	return nil, nil
}

func idsOf(pages []channels.Page) string {
	var ids []string
	for _, p := range pages {
		for _, r := range p.Records {
			id := r.ID
			if r.Deleted {
				id = "-" + id
			}
			if r.Err != nil {
				id = "!" + id
			}
			ids = append(ids, id)
		}
	}
	return strings.Join(ids, " ")
}

func wantFault(tb testing.TB, err error, class fault.Class, code string) {
	tb.Helper()
	if err == nil {
		tb.Fatalf("no error, want %s %s", class, code)
	}
	if fault.Of(err) != class || fault.CodeOf(err) != code {
		tb.Fatalf("error %v is %s %q, want %s %q", err, fault.Of(err), fault.CodeOf(err), class, code)
	}
}

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// filled is a collection of n records r000, r001, ... that changed one minute
// after the other from noon on, and of two deleted ones.
func filled(n int) (*transporttest.Collection, map[string][]record.Value) {
	now := noon
	c := transporttest.NewCollection(func() time.Time { return now })
	want := map[string][]record.Value{}
	for i := range n {
		id := fmt.Sprintf("r%03d", i)
		c.Put(id, map[string]any{"email": id + "@example.com", "address": map[string]any{"city": "Rome"}, "n": int64(9007199254740993)})
		want[id] = []record.Value{record.T(id + "@example.com"), record.T("Rome"), record.N("9007199254740993"), {}}
		now = now.Add(time.Minute)
	}
	for _, id := range []string{"gone1", "gone2"} {
		c.Put(id, nil)
		c.Delete(id)
		now = now.Add(time.Minute)
	}
	return c, want
}

// loopback resolves every name but those of .invalid to this machine.
type loopback struct{}

func (loopback) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if strings.HasSuffix(host, ".invalid") {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
}
