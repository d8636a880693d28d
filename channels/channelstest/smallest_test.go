package channelstest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/channels/channelstest"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
	"github.com/tandem-sync/tandem/transport"
	"github.com/tandem-sync/tandem/transport/settings"
)

// todo is the smallest channel type there is: it reads the items of a list that
// pages by offset and names its items by id. Copy it to begin with.
type todo struct{}

func (todo) Info() channels.Info {
	return channels.Info{
		Name: "todo", Label: "A to-do list", Icon: "list", Summary: "Reads the items of a to-do list",
		Schema:       json.RawMessage(`{"type":"object","properties":{"transport":{"type":"object"}}}`),
		Connectors:   []channels.ConnectorInfo{{Name: "items", Label: "Items"}},
		Capabilities: []string{"read", "get"},
	}
}

func (todo) parse(s channels.Settings) (transport.HTTPConfig, transport.Guard, []channels.Problem) {
	var guard transport.Guard
	if g, ok := s.Network.(transport.Guard); ok {
		guard = g
	}
	var found []settings.Problem
	o := settings.Parse("transport", s.Transport, &found)
	cfg := transport.ParseHTTP(o, guard)
	o.Done()
	problems := make([]channels.Problem, len(found))
	for i, p := range found {
		problems[i] = channels.Problem(p)
	}
	return cfg, guard, problems
}

func (t todo) Check(s channels.Settings) []channels.Problem {
	_, _, problems := t.parse(s)
	return problems
}

func (t todo) Open(_ context.Context, s channels.Settings) (channels.Channel, error) {
	cfg, guard, problems := t.parse(s)
	if len(problems) > 0 {
		return nil, fault.New(fault.Permanent, fault.CodeConfig, "channel "+s.Channel, "%s: %s", problems[0].Field, problems[0].Message)
	}
	h, err := transport.NewHTTP(cfg, guard)
	if err != nil {
		return nil, err
	}
	return todoChannel{h}, nil
}

// todoChannel is an opened list.
type todoChannel struct{ http *transport.HTTP }

func (c todoChannel) Ping(ctx context.Context) error {
	_, err := c.http.Do(ctx, transport.Request{Op: "ping", Path: "/items"})
	return err
}

func (c todoChannel) Connector(name string) (channels.Connector, error) {
	if name != "items" {
		return nil, fault.New(fault.Permanent, fault.CodeNotFound, "todo", "no connector %q", name).WithHint("connectors: items")
	}
	return items(c), nil
}

func (c todoChannel) Close() error { return c.http.Close() }

// items is the only connector. Its readers go on at the offset they are given.
type items struct{ http *transport.HTTP }

func (items) Capabilities() channels.Capabilities {
	return channels.Capabilities{Enumerates: true, Drifts: true}
}

func (i items) Reader(_ context.Context, req channels.ReadRequest) (channels.Reader, error) {
	r := &reader{http: i.http, fields: req.Fields}
	if req.From != nil {
		if err := json.Unmarshal(req.From, &r.offset); err != nil {
			return nil, fault.Wrap(fault.Permanent, fault.CodeUsage, "todo: position", err)
		}
	}
	return r, nil
}

// Get lets deletions be found: an item that the list no longer names is gone
// only if it is not found by its id either.
func (i items) Get(ctx context.Context, fields, ids []string) ([]record.Record, error) {
	var out []record.Record
	for _, id := range ids {
		answer, err := i.http.Do(ctx, transport.Request{Op: "get item", Path: "/items/" + url.PathEscape(id)})
		switch {
		case fault.CodeOf(err) == fault.CodeNotFound:
			out = append(out, record.Record{ID: id, Deleted: true})
		case err != nil:
			return nil, err
		default:
			var item map[string]string
			if err := json.Unmarshal(answer.Body, &item); err != nil {
				return nil, fault.Wrap(fault.Retryable, fault.CodeBadAnswer, "get item", err)
			}
			out = append(out, recordOf(item, fields))
		}
	}
	return out, nil
}

type reader struct {
	http   *transport.HTTP
	fields []string
	offset int
}

func (r *reader) ReadPage(ctx context.Context) (channels.Page, error) {
	answer, err := r.http.Do(ctx, transport.Request{
		Op: "list items", Path: "/items", Query: url.Values{"offset": {strconv.Itoa(r.offset)}},
	})
	if err != nil {
		return channels.Page{}, err
	}
	var list []map[string]string
	if err := json.Unmarshal(answer.Body, &list); err != nil {
		return channels.Page{}, fault.Wrap(fault.Retryable, fault.CodeBadAnswer, "list items", err)
	}
	if len(list) == 0 {
		return channels.Page{}, io.EOF
	}
	page := channels.Page{Total: -1, Bytes: len(answer.Body), RemoteNow: answer.RemoteNow, FetchStarted: answer.Started}
	for _, item := range list {
		page.Records = append(page.Records, recordOf(item, r.fields))
	}
	r.offset += len(list)
	page.Next = channels.Cursor(strconv.Itoa(r.offset))
	return page, nil
}

func (*reader) Close() error { return nil }

// recordOf puts an item's members in the order of the fields; a member that is
// not there stays absent.
func recordOf(item map[string]string, fields []string) record.Record {
	r := record.Record{ID: item["id"], Values: make([]record.Value, len(fields))}
	for i, f := range fields {
		if v, ok := item[f]; ok {
			r.Values[i] = record.T(v)
		}
	}
	return r
}

// listOf serves n items, two a page.
func listOf(t *testing.T, n int) channels.Settings {
	t.Helper()
	item := func(i int) map[string]string {
		return map[string]string{"id": strconv.Itoa(i), "name": fmt.Sprint("item ", i)}
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := strings.TrimPrefix(r.URL.Path, "/items/"); id != r.URL.Path {
			if i, err := strconv.Atoi(id); err == nil && i < n {
				answer(t, w, item(i))
			} else {
				http.NotFound(w, r)
			}
			return
		}
		list := []map[string]string{}
		from, err := strconv.Atoi(r.URL.Query().Get("offset"))
		for i := from; err == nil && i < min(n, from+2); i++ {
			list = append(list, item(i))
		}
		answer(t, w, list)
	}))
	t.Cleanup(srv.Close)
	return channels.Settings{
		Channel: "todo", Transport: json.RawMessage(`{"base_url":"` + srv.URL + `"}`),
		Connectors: []channels.ConnectorSettings{{Name: "items"}},
		Network:    transport.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	}
}

func answer(t *testing.T, w http.ResponseWriter, v any) {
	t.Helper()
	if err := json.NewEncoder(w).Encode(v); err != nil {
		t.Error(err)
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSmallestType: the suite asks nothing of a type that only reads beyond what
// such a type needs.
func TestSmallestType(t *testing.T) {
	want := map[string][]record.Value{}
	for i := range 7 {
		want[strconv.Itoa(i)] = []record.Value{record.T(fmt.Sprint("item ", i)), {}}
	}
	channelstest.Run(t, channelstest.Subject{
		Type: todo{}, Settings: listOf(t, 7), Empty: listOf(t, 0), Connector: "items", Fields: []string{"name", "note"}, Want: want,
	})
}
