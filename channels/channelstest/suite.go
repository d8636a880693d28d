// Package channelstest is the acceptance suite of channel types: what every
// type must do that reads (Run) or writes (RunWriter), whatever its remote is.
package channelstest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

// Subject is one connector of a channel type and what its remote holds.
type Subject struct {
	Type channels.Type
	// Settings lead to a remote that holds Want and, where the connector reads
	// tombstones, Deleted. The remote must not change while the suite runs, and
	// its listing must need at least three pages.
	Settings  channels.Settings
	Connector string
	Fields    []string
	// Want has the values of Fields by id.
	Want    map[string][]record.Value
	Deleted []string
	// Empty are settings that lead to an empty remote.
	Empty channels.Settings
	// Repeating are settings that lead to a remote that answers every call with
	// the same page; a zero Channel leaves the case out, for types whose paging
	// cannot repeat.
	Repeating channels.Settings
}

// maxPages ends a listing that does not end by itself.
const maxPages = 1000

// Run runs the suite. It looks for goroutines left behind, so the calling test
// must not be parallel.
func Run(t *testing.T, s Subject) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Run("info", s.info)
	t.Run("check", s.check)
	t.Run("ping", s.ping)
	t.Run("unknown connector", s.unknownConnector)
	t.Run("reads everything once", s.everything)
	t.Run("goes on at every cursor", s.resume)
	t.Run("refuses a cursor that is not its own", s.foreignCursor)
	t.Run("an error repeats the page", s.errorRepeats)
	t.Run("readers do not disturb each other", s.twoReaders)
	t.Run("empty listing", s.empty)
	t.Run("repeated page", s.repeating)
	t.Run("get", s.get)
	t.Run("close", s.close)
	if err := goleak.Find(before); err != nil {
		t.Errorf("goroutines are left: %v", err)
	}
}

func (s Subject) open(t *testing.T, settings channels.Settings) channels.Channel {
	t.Helper()
	ch, err := s.Type.Open(t.Context(), settings)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := ch.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return ch
}

func (s Subject) connector(t *testing.T, settings channels.Settings) channels.Connector {
	t.Helper()
	c, err := s.open(t, settings).Connector(s.Connector)
	if err != nil {
		t.Fatalf("connector: %v", err)
	}
	return c
}

func (s Subject) reader(t *testing.T, c channels.Connector, from channels.Cursor) channels.Reader {
	t.Helper()
	r, err := c.Reader(t.Context(), channels.ReadRequest{Fields: s.Fields, From: from})
	if err != nil {
		t.Fatalf("reader: %v", err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close of the reader: %v", err)
		}
	})
	return r
}

func (s Subject) info(t *testing.T) {
	i := s.Type.Info()
	if i.Name == "" || i.Label == "" || i.Summary == "" || !json.Valid(i.Schema) {
		t.Errorf("name, label, summary and a JSON Schema are needed: %+v", i)
	}
	var reg channels.Registry
	if err := reg.Register(s.Type); err != nil {
		t.Error(err)
	}
}

func (s Subject) check(t *testing.T) {
	for _, settings := range []channels.Settings{s.Settings, s.Empty} {
		if ps := s.Type.Check(settings); len(ps) > 0 {
			t.Errorf("good settings have problems: %+v", ps)
		}
	}
	wrong := s.Settings
	wrong.Transport = json.RawMessage(`{"no_such_key":1}`)
	ps := s.Type.Check(wrong)
	if !slices.ContainsFunc(ps, func(p channels.Problem) bool { return p.Field == "transport.no_such_key" }) {
		t.Errorf("an unknown key of the transport is not reported: %+v", ps)
	}
	for _, p := range ps {
		if p.Field == "" || p.Message == "" || p.Fix == "" {
			t.Errorf("a problem needs a field, a message and a fix: %+v", p)
		}
	}
	if ch, err := s.Type.Open(t.Context(), wrong); err == nil || fault.CodeOf(err) != fault.CodeConfig {
		t.Errorf("wrong settings were opened: %v", err)
		if ch != nil {
			_ = ch.Close()
		}
	}
}

func (s Subject) ping(t *testing.T) {
	if err := s.open(t, s.Settings).Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func (s Subject) unknownConnector(t *testing.T) {
	_, err := s.open(t, s.Settings).Connector("no such connector")
	if fault.CodeOf(err) != fault.CodeNotFound {
		t.Errorf("got %v, want code not_found", err)
	}
}

func (s Subject) everything(t *testing.T) {
	ps := pages(t, s.reader(t, s.connector(t, s.Settings), nil))
	if len(ps) < 3 {
		t.Fatalf("the listing has %d pages; the suite needs three", len(ps))
	}
	got := map[string]bool{}
	var gone []string
	for _, r := range show(ps) {
		switch {
		case r.Deleted:
			gone = append(gone, r.ID)
			if r.Values != nil {
				t.Errorf("the tombstone %s has values", r.ID)
			}
		case got[r.ID]:
			t.Errorf("record %s came twice", r.ID)
		case !reflect.DeepEqual(r.Values, s.Want[r.ID]):
			t.Errorf("record %s: %+v, want %+v", r.ID, r.Values, s.Want[r.ID])
		}
		got[r.ID] = true
	}
	for id := range s.Want {
		if !got[id] {
			t.Errorf("record %s was not read", id)
		}
	}
	slices.Sort(gone)
	if !slices.Equal(gone, slices.Sorted(slices.Values(s.Deleted))) {
		t.Errorf("tombstones %v, want %v", gone, s.Deleted)
	}
	listed := false
	for i, p := range ps {
		if listed && !p.Listed {
			t.Errorf("page %d says the listing has not ended, an earlier one says it has", i+1)
		}
		listed = p.Listed
	}
}

func (s Subject) resume(t *testing.T) {
	whole := pages(t, s.reader(t, s.connector(t, s.Settings), nil))
	for i := range whole {
		// Another process: another channel, and the cursor out of a database.
		stored := slices.Clone(whole[i].Next)
		rest := pages(t, s.reader(t, s.connector(t, s.Settings), stored))
		if got, want := show(rest), show(whole[i+1:]); !reflect.DeepEqual(got, want) {
			t.Errorf("after page %d: %d records, want %d; or others", i+1, len(got), len(want))
		}
	}
}

func (s Subject) foreignCursor(t *testing.T) {
	c := s.connector(t, s.Settings)
	for _, from := range []string{`"x"`, `{"x":`, `[1]`, `{"stage":"?"}`} {
		r, err := c.Reader(t.Context(), channels.ReadRequest{Fields: s.Fields, From: channels.Cursor(from)})
		if err == nil {
			_, err = r.ReadPage(t.Context())
			_ = r.Close()
		}
		if err == nil || fault.Of(err) != fault.Permanent {
			t.Errorf("cursor %s: %v, want a permanent error", from, err)
		}
	}
}

func (s Subject) errorRepeats(t *testing.T) {
	c := s.connector(t, s.Settings)
	want := show(pages(t, s.reader(t, c, nil)))
	r := s.reader(t, c, nil)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	var got []channels.Page
	for len(got) < maxPages {
		if _, err := r.ReadPage(cancelled); err == nil {
			t.Fatal("a page was read with a cancelled context")
		} else if errors.Is(err, io.EOF) {
			break
		}
		p, err := r.ReadPage(t.Context())
		if errors.Is(err, io.EOF) { // the remote had to be asked for that
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p)
	}
	if !reflect.DeepEqual(show(got), want) {
		t.Error("errors in between have changed what is read")
	}
}

func (s Subject) twoReaders(t *testing.T) {
	c := s.connector(t, s.Settings)
	want := show(pages(t, s.reader(t, c, nil)))
	done := make(chan []shown, 2)
	a, b := s.reader(t, c, nil), s.reader(t, c, nil)
	for _, r := range []channels.Reader{a, b} {
		go func() {
			var ps []channels.Page
			for {
				p, err := r.ReadPage(t.Context())
				if err != nil {
					done <- show(ps)
					return
				}
				ps = append(ps, p)
			}
		}()
	}
	for range 2 {
		if got := <-done; !reflect.DeepEqual(got, want) {
			t.Errorf("%d records, want %d; or others", len(got), len(want))
		}
	}
}

func (s Subject) empty(t *testing.T) {
	ps := pages(t, s.reader(t, s.connector(t, s.Empty), nil))
	if n := len(show(ps)); n > 0 {
		t.Errorf("%d records", n)
	}
}

func (s Subject) repeating(t *testing.T) {
	if s.Repeating.Channel == "" {
		return
	}
	r := s.reader(t, s.connector(t, s.Repeating), nil)
	for range maxPages {
		_, err := r.ReadPage(t.Context())
		if err == nil {
			continue
		}
		if fault.CodeOf(err) != "cursor_stalled" {
			t.Errorf("%v, want code cursor_stalled", err)
		}
		return
	}
	t.Errorf("still reading after %d pages", maxPages)
}

func (s Subject) get(t *testing.T) {
	g, ok := s.connector(t, s.Settings).(channels.Getter)
	if !ok {
		return
	}
	const missing = "no-such-id"
	ids := []string{missing}
	for id := range s.Want {
		ids = append(ids, id)
	}
	recs, err := g.Get(t.Context(), s.Fields, ids)
	if err != nil {
		t.Fatal(err)
	}
	if len(recs) != len(ids) {
		t.Errorf("%d records for %d ids", len(recs), len(ids))
	}
	for _, r := range recs {
		switch {
		case r.Err != nil:
			t.Errorf("%s: %v", r.ID, r.Err)
		case r.Deleted != (r.ID == missing):
			t.Errorf("%s: deleted %t", r.ID, r.Deleted)
		case !r.Deleted && !reflect.DeepEqual(r.Values, s.Want[r.ID]):
			t.Errorf("%s: %+v, want %+v", r.ID, r.Values, s.Want[r.ID])
		}
	}
	if recs, err := g.Get(t.Context(), s.Fields, nil); err != nil || len(recs) != 0 {
		t.Errorf("no ids: %v %v", recs, err)
	}
}

func (s Subject) close(t *testing.T) {
	ch, err := s.Type.Open(t.Context(), s.Settings)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ch.Connector(s.Connector)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Reader(t.Context(), channels.ReadRequest{Fields: s.Fields})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadPage(t.Context()); err != nil {
		t.Error(err)
	}
	// In the middle of a listing, and twice.
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := ch.Close(); err != nil {
			t.Error(err)
		}
	}
}
