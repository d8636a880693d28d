package rest_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/tandem-sync/tandem/channels"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

// TestReadThatAnotherRecordAnswers: a merge or a redirect gives a record another
// id, a wrong setting must not.
func TestReadThatAnotherRecordAnswers(t *testing.T) {
	t.Parallel()
	moved := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/c/9", http.StatusMovedPermanently)
	}
	nine := tt.JSON(`{"id":"9","a":"x"}`)
	for name, c := range map[string]struct {
		seven, nine tt.Step
		to          string
	}{
		"merged":                           {nine, nine, "9"},
		"moved":                            {moved, nine, "9"},
		"the other one is not there":       {nine, tt.Status(http.StatusNotFound), ""},
		"the other one answers as a third": {nine, tt.JSON(`{"id":"8"}`), ""},
		"the other one cannot be read":     {nine, tt.Status(http.StatusForbidden), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := tt.New(t, nil)
			srv.Handle("/c/7", c.seven)
			srv.Handle("/c/9", c.nine)
			con := open(t, settingsFor(srv.URL, `{"list":{"path":"/c"},"get":{"path":"/c/{id}"}}`))
			recs, err := con.(channels.Getter).Get(t.Context(), []string{"a"}, []string{"7"})
			if name == "the other one cannot be read" {
				if err == nil && recs[0].Err == nil {
					t.Fatalf("%+v", recs)
				}
				return
			}
			if err != nil || len(recs) != 1 || recs[0].ID != "7" {
				t.Fatal(recs, err)
			}
			r := recs[0]
			if c.to == "" {
				if r.Err == nil || r.Deleted || r.Renamed != nil {
					t.Errorf("%+v, want an error", r)
				}
				return
			}
			if !r.Deleted || r.Err != nil || r.Renamed == nil || r.Renamed.To != c.to {
				t.Errorf("%+v, want one that has become %s", r, c.to)
			}
		})
	}
}

func TestFormerIDs(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string][]string{
		`"1"`: {"1"}, `"1;2, 3"`: {"1", "2", "3"}, `4`: {"4"}, `[5,"6",7.0]`: {"5", "6", "7.0"},
		`null`: nil, `""`: nil, `[]`: nil, `"9"`: nil, `["9","..",{},[1],null]`: nil, `true`: nil, `{"a":1}`: nil,
	} {
		srv := tt.New(t, nil)
		srv.Handle("/c", tt.JSON(`[{"id":"9","old":{"ids":`+raw+`}}]`))
		con := open(t, settingsFor(srv.URL, `{"list":{"path":"/c"},"former_ids":"old.ids"}`))
		r, err := con.Reader(t.Context(), channels.ReadRequest{Fields: []string{"a"}})
		if err != nil {
			t.Fatal(err)
		}
		page, err := r.ReadPage(t.Context())
		if err != nil || len(page.Records) != 1 || page.Records[0].Err != nil {
			t.Fatal(page.Records, err)
		}
		var got []string
		if x := page.Records[0].Renamed; x != nil {
			got = x.From
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
