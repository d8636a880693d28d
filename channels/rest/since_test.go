package rest_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

func TestSince(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 13, 0, 0, 999_000_000, time.FixedZone("", 3600))
	tests := []struct{ since, want string }{
		{`{"query":"since={time}"}`, "since=2026-11-24T12:00:00Z"},
		{`{"query":"filter=(updated>='{time}')","format":"2006-01-02 15:04:05.000Z"}`, "filter=(updated>='2026-11-24 12:00:00.999Z')"},
		{`{"query":"from={time}","format":"unix"}`, "from=1795521600"},
		{`{"query":"from={time}","format":"unix_ms"}`, "from=1795521600999"},
		{`{"query":"from={time}","format":"date"}`, "from=2026-11-24"},
		{`{"query":"q=a&b=c {time}","format":"date"}`, "q=a&b=c 2026-11-24"},
	}
	for _, c := range tests {
		t.Run(c.since, func(t *testing.T) {
			t.Parallel()
			srv := tt.New(t, nil)
			srv.Handle("/x", tt.JSON(`{"items":[]}`))
			con := open(t, settingsFor(srv.URL, simple(`"path":"/x","query":{"filter":"all","sort":"updated,id"},"records":"items","since":`+c.since)))
			if !con.Capabilities().Incremental {
				t.Error("not incremental")
			}
			for _, since := range []time.Time{{}, at} {
				if _, err := readAll(t, con, channels.ReadRequest{Since: since}); err != nil {
					t.Fatal(err)
				}
			}
			if q := srv.Seen()[0].Query; q != "filter=all&sort=updated%2Cid" {
				t.Errorf("a first run asked %q", q)
			}
			q, err := url.ParseQuery(srv.Seen()[1].Query)
			name, value, _ := strings.Cut(c.want, "=")
			if err != nil || len(q[name]) != 1 || q.Get(name) != value || q.Get("sort") != "updated,id" {
				t.Errorf("asked %v (%v), want %s", q, err, c.want)
			}
		})
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	data, _ := filled(6)
	srv := tt.New(t, data)
	plain := `{"list":{"path":"/page","records":"items","page":{"by":"page","param":"page","size_param":"size","size":2}},"modified":"updated"}`
	filter := strings.Replace(plain, `"records"`, `"since":{"query":"since={time}"},"records"`, 1)
	for name, remote := range map[string]string{"by the remote": filter, "here": plain} {
		t.Run(name, func(t *testing.T) {
			pages, err := readAll(t, open(t, settingsFor(srv.URL, remote)), channels.ReadRequest{Since: noon.Add(time.Minute), Until: noon.Add(4 * time.Minute)})
			if err != nil || idsOf(pages) != "r001 r002 r003" {
				t.Errorf("%q %v", idsOf(pages), err)
			}
		})
	}
}

func TestTombstonesAreFilteredLikeTheList(t *testing.T) {
	t.Parallel()
	data, _ := filled(3)
	srv := tt.New(t, data)
	remote := `{"list":{"path":"/page","records":"items","page":{"by":"page","param":"page","size_param":"size","size":1,"total_at":"total"},"since":{"query":"since={time}"}},"deleted":{"path":"/deleted","records":"ids"}}`
	con := open(t, settingsFor(srv.URL, remote))
	if c := con.Capabilities(); !c.Tombstones || !c.Drifts || !c.Enumerates {
		t.Errorf("%+v", c)
	}
	pages, err := readAll(t, con, channels.ReadRequest{Since: noon.Add(4 * time.Minute)})
	if err != nil || idsOf(pages) != "-gone2" {
		t.Errorf("%q %v", idsOf(pages), err)
	}
	if last := pages[len(pages)-1]; !last.Listed || last.Total != -1 {
		t.Errorf("%+v", last)
	}
}

func TestArchivedRecordsAreTombstones(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/x", tt.JSON(`{"items":[{"id":1,"archived":false},{"id":2,"archived":true},{"id":3}]}`))
	con := open(t, settingsFor(srv.URL, `{"list":{"path":"/x","records":"items"},"deleted":{"field":"archived"}}`))
	pages, err := readAll(t, con, channels.ReadRequest{Fields: []string{"id"}})
	if err != nil || idsOf(pages) != "1 -2 3" || !con.Capabilities().Tombstones {
		t.Errorf("%q %v", idsOf(pages), err)
	}
}
