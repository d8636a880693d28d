package transport_test

import (
	"compress/gzip"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/transport"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/bomb", tt.GzipBomb(1<<30))
	srv.Handle("/endless", tt.Endless())
	srv.Handle("/length", tt.Raw("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}"))
	srv.Handle("/double", tt.Answer(200, "x", "Content-Encoding", "gzip, gzip"))
	srv.Handle("/header", tt.HugeHeader(1<<20))
	h := client(t, srv.URL, nil, transport.WithRand(func() float64 { return 0 }))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for path, want := range map[string]string{"/bomb": "page_too_large", "/endless": "page_too_large", "/length": "page_too_large", "/double": fault.CodeBadAnswer} {
		_, err := get(t, h, path)
		wantFault(t, err, fault.Permanent, want)
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.Sys) - int64(before.Sys); grown > 400<<20 {
		t.Errorf("took %d MiB of memory", grown>>20)
	}
	if _, err := get(t, h, "/header"); err == nil {
		t.Error("a header of 1 MiB was taken")
	}
}

func TestGzipIsRead(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			t.Error("gzip was not offered")
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte(`{"a":1}`))
		_ = z.Close()
	}))
	resp, err := get(t, client(t, srv.URL, nil), "/x")
	if err != nil || string(resp.Body) != `{"a":1}` {
		t.Fatal(resp, err)
	}
}
