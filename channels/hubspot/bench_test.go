package hubspot_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/channels/hubspot"
	emulator "github.com/tandem-sync/tandem/emulate/hubspot"
	"github.com/tandem-sync/tandem/transport"
)

var benchFields = []string{"email", "firstname", "lastname", "phone", "city", "company", "lifecyclestage", "lastmodifieddate"}

// canned answers a listing of n contacts, a hundred a page, out of memory, so
// that what is measured is the reader.
func canned(tb testing.TB, n int) string {
	tb.Helper()
	p := emulator.New(emulator.Config{Limits: emulator.Unlimited})
	p.Seed(n)
	var pages [][]byte
	for after := ""; ; {
		r := httptest.NewRequestWithContext(tb.Context(), http.MethodGet,
			"/crm/v3/objects/contacts?limit=100&properties=email,firstname,lastname,phone,city,company,lifecyclestage,lastmodifieddate&after="+after, http.NoBody)
		r.Header.Set("Authorization", "Bearer "+emulator.DefaultToken)
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		var got struct {
			Results []json.RawMessage `json:"results"`
			Paging  struct {
				Next struct {
					After string `json:"after"`
				} `json:"next"`
			} `json:"paging"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			tb.Fatal(err)
		}
		body := append([]byte(`{"results":`), must(json.Marshal(got.Results))...)
		if after = got.Paging.Next.After; after == "" {
			pages = append(pages, append(body, '}'))
			break
		}
		pages = append(pages, append(body, `,"paging":{"next":{"after":"`+strconv.Itoa(len(pages)+1)+`"}}}`...))
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		k, _ := strconv.Atoi(q.Get("after"))
		body := pages[k]
		if q.Get("archived") == "true" {
			body = []byte(`{"results":[]}`)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	}))
	tb.Cleanup(srv.Close)
	return srv.URL
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func benchReader(b *testing.B, url, remote string, req channels.ReadRequest, want int) {
	b.Helper()
	s := settings(url, "", remote)
	s.Transport = []byte(fmt.Sprintf(`{"base_url":%q,"token":%q,"rate_limit":"100000/s","concurrency":4}`, url, emulator.DefaultToken))
	ch, err := hubspot.Type{SearchRate: transport.Rate{N: 100_000, Per: time.Second}}.Open(b.Context(), s)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ch.Close() })
	c, err := ch.Connector("contacts")
	if err != nil {
		b.Fatal(err)
	}
	req.Fields = benchFields
	a := &account{c: c}
	b.ReportAllocs()
	for b.Loop() {
		if got := len(a.all(b, req)); got != want {
			b.Fatalf("%d records, want %d", got, want)
		}
	}
	b.ReportMetric(float64(want)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(want*b.N), "ns/record")
}

// BenchmarkList is the full listing over HTTP on loopback.
func BenchmarkList(b *testing.B) {
	const n = 10_000
	benchReader(b, canned(b, n), "", channels.ReadRequest{}, n)
}

// BenchmarkListIdeal is the same by a loop as one writes it by hand: one client,
// encoding/json into a struct.
func BenchmarkListIdeal(b *testing.B) {
	const n = 10_000
	url := canned(b, n)
	client := &http.Client{}
	b.Cleanup(client.CloseIdleConnections)
	type contact struct {
		ID         string            `json:"id"`
		Properties map[string]string `json:"properties"`
		UpdatedAt  time.Time         `json:"updatedAt"`
	}
	b.ReportAllocs()
	for b.Loop() {
		got := 0
		for after := "0"; after != ""; {
			req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url+"?after="+after, http.NoBody)
			if err != nil {
				b.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				b.Fatal(err)
			}
			var page struct {
				Results []contact `json:"results"`
				Paging  struct {
					Next struct {
						After string `json:"after"`
					} `json:"next"`
				} `json:"paging"`
			}
			if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
				b.Fatal(err)
			}
			_ = resp.Body.Close()
			got += len(page.Results)
			after = page.Paging.Next.After
		}
		if got != n {
			b.Fatal(got)
		}
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*b.N), "ns/record")
}

// BenchmarkChanges reads changes by search, with and without the batch reads for
// their history. The emulator's own work, in the same process, is in it.
func BenchmarkChanges(b *testing.B) {
	const n = 5000
	p := emulator.New(emulator.Config{Limits: emulator.Unlimited})
	ids := p.Seed(n)
	for i := 0; i < n; i += 50 {
		p.Advance(time.Millisecond)
		p.Edit(map[string]string{"phone": "1"}, ids[i:i+50]...)
	}
	srv := httptest.NewServer(p)
	b.Cleanup(srv.Close)
	since := p.Now().Add(-time.Hour)
	b.Run("history", func(b *testing.B) { benchReader(b, srv.URL, "", channels.ReadRequest{Since: since}, n) })
	b.Run("values", func(b *testing.B) {
		benchReader(b, srv.URL, `{"history":"never"}`, channels.ReadRequest{Since: since}, n)
	})
}
