package rest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/sync/record"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

// TestVersions: what the version of a record is, and how it is sent.
func TestVersions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		match, header, body, want string
		bad                       bool
	}{
		"etag":            {match: "etag", header: `"5-a"`, body: `{"id":"7"}`, want: `"5-a"`},
		"weak etag":       {match: "etag", header: `W/"5"`, body: `{"id":"7"}`, want: `W/"5"`},
		"no etag":         {match: "etag", body: `{"id":"7","etag":"x"}`},
		"number":          {match: "version", header: `"5"`, body: `{"id":"7","version":12}`, want: `"12"`},
		"nested":          {match: "meta.rev", body: `{"id":"7","meta":{"rev":"a-b"}}`, want: `"a-b"`},
		"quoted":          {match: `["@odata.etag"]`, body: `{"id":"7","@odata.etag":"W/\"08D\""}`, want: `W/"08D"`},
		"a field etag":    {match: `["etag"]`, header: `"5"`, body: `{"id":"7","etag":"%EgU"}`, want: `"%EgU"`},
		"no such field":   {match: "version", body: `{"id":"7"}`},
		"not to be sent":  {match: "version", body: `{"id":"7","version":"a\nb"}`, bad: true},
		"nor with quotes": {match: "version", body: `{"id":"7","version":"a\"b"}`, bad: true},
		"not asked for":   {header: `"5"`, body: `{"id":"7","version":12}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := tt.New(t, nil)
			srv.Handle("/c/7", func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet && c.header != "" {
					w.Header().Set("ETag", c.header)
				}
				tt.JSON(c.body)(w, r)
			})
			update := `"update":{"path":"/c/{id}"`
			if c.match != "" {
				update += `,"if_match":` + quoted(c.match)
			}
			con := open(t, settingsFor(srv.URL, `{"list":{"path":"/c"},"get":{"path":"/c/{id}"},`+update+`}}`))
			recs, err := con.(channels.Getter).Get(t.Context(), []string{"a"}, []string{"7"})
			if err != nil || len(recs) != 1 {
				t.Fatal(recs, err)
			}
			if (recs[0].Err != nil) != c.bad || recs[0].Version != c.want {
				t.Fatalf("%+v, want version %s", recs[0], c.want)
			}
			w := con.(channels.Writer)
			if got := w.WriteCapabilities().Precondition; got != (c.match != "") {
				t.Errorf("precondition: %t", got)
			}
			o := channels.Order{N: 1, Op: channels.OrderUpdate, ID: "7", Values: []record.Value{record.T("x")}, Version: recs[0].Version}
			if res, err := w.Write(t.Context(), []string{"a"}, []channels.Order{o}); err != nil || res[0].Outcome != channels.Written {
				t.Fatal(res, err)
			}
			seen := srv.Seen()
			if got := seen[len(seen)-1].Header.Get("If-Match"); got != c.want {
				t.Errorf("sent %s, want %s", got, c.want)
			}
		})
	}
}

func quoted(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"` }
