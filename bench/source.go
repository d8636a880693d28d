package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// pageSize is how many contacts a page of the source holds.
const pageSize = 100

// source is a REST server with generated contacts. It keeps no record in
// memory: every page is made when it is asked for.
type source struct {
	records int
	latency atomic.Int64 // nanoseconds a page takes longer
	changed atomic.Bool  // one contact in a hundred has another phone number
	url     string
	server  *http.Server
}

// startSource serves n contacts on a free loopback port.
func startSource(ctx context.Context, n int) (*source, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &source{records: n, url: "http://" + l.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /contacts", s.list)
	mux.HandleFunc("GET /contacts/{id}", s.get)
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() {
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			panic(err) // the benchmark is worthless from here on
		}
	}()
	return s, nil
}

func (s *source) close() error { return s.server.Close() }

// list answers one page; the cursor is the number of its first contact and
// stands behind the contacts, as in most APIs.
func (s *source) list(w http.ResponseWriter, r *http.Request) {
	from := 0
	if c := r.URL.Query().Get("cursor"); c != "" {
		var err error
		if from, err = strconv.Atoi(c); err != nil || from < 0 {
			http.Error(w, "bad cursor", http.StatusBadRequest)
			return
		}
	}
	if d := time.Duration(s.latency.Load()); d > 0 {
		time.Sleep(d)
	}
	to := min(from+pageSize, s.records)
	changed := s.changed.Load()
	b := append(make([]byte, 0, 52<<10), `{"items":[`...)
	for i := from; i < to; i++ {
		if i > from {
			b = append(b, ',')
		}
		b = appendContact(b, i, changed)
	}
	b = append(b, `],"total":`...)
	b = strconv.AppendInt(b, int64(s.records), 10)
	b = append(b, `,"next":`...)
	if to < s.records {
		b = append(b, '"')
		b = strconv.AppendInt(b, int64(to), 10)
		b = append(b, `"}`...)
	} else {
		b = append(b, "null}"...)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b) // a reader that has gone is its own affair
}

func (s *source) get(w http.ResponseWriter, r *http.Request) {
	i, err := strconv.Atoi(strings.TrimPrefix(r.PathValue("id"), "c"))
	if err != nil || i < idBase || i >= idBase+s.records {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(appendContact(nil, i-idBase, s.changed.Load()))
}

const idBase = 10_000_000

var (
	firstNames = []string{"Ada", "Zoë", "Łukasz", "Grace", "Émile", "Barbara", "Ken", "Ghassan"}
	lastNames  = []string{"Lovelace", "Müller", "Hopper", "O'Neil", "Liskov", "Thompson", "Ångström"}
)

// appendContact writes contact i as JSON: about 460 bytes, with eight fields
// that are synced and some that are not.
func appendContact(b []byte, i int, changed bool) []byte {
	number := i * 7919 % 10_000_000
	if changed && i%100 == 0 {
		number = 10_000_000 + i
	}
	return fmt.Appendf(b, `{"id":"c%d","email":"person%08d@example.com","first_name":"%s","last_name":"%s",`+
		`"phone":"+49 30 %07d","company":"Company %d & Sons","score":%d,"active":%t,"birthday":"%04d-%02d-%02d",`+
		`"address":{"street":"%d Long Street","city":"Springfield","zip":"%05d","country":"DE"},`+
		`"tags":["customer","newsletter","tier-%d"],"notes":"Prefers to be called in the afternoon.",`+
		`"created":"2024-03-01T08:00:00Z","updated":"2026-01-02T03:04:05Z"}`,
		idBase+i, i, firstNames[i%len(firstNames)], lastNames[i%len(lastNames)],
		number, i%5000, i%100_000, i%3 != 0, 1950+i%60, 1+i%12, 1+i%28,
		1+i%400, i%99_999, i%5)
}
