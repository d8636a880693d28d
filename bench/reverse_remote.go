package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
)

// reverseRemote takes changes of contacts, one in a call (PATCH /contacts/ID) or
// a hundred (HubSpot's batch update). It keeps nothing and answers at once, or
// after its latency.
type reverseRemote struct {
	latency  atomic.Int64 // nanoseconds
	received atomic.Int64 // records
	url      string
	server   *http.Server
	// told, if set, hears of every single call, at the moment its body is there.
	told func(at time.Time, body []byte)
}

func startReverseRemote(ctx context.Context) (*reverseRemote, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &reverseRemote{url: "http://" + l.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("PATCH /contacts/{id}", r.one)
	mux.HandleFunc("GET /contacts", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"items":[],"next":null}`) })
	mux.HandleFunc("POST /crm/v3/objects/contacts/batch/update", r.many)
	r.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() {
		if err := r.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			panic(err) // the benchmark is worthless from here on
		}
	}()
	return r, nil
}

func (r *reverseRemote) close() error { return r.server.Close() }

func (r *reverseRemote) wait() {
	if d := time.Duration(r.latency.Load()); d > 0 {
		time.Sleep(d)
	}
}

func (r *reverseRemote) one(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	at := time.Now()
	if err != nil || !bytes.Contains(body, []byte(`"phone":"`)) {
		http.Error(w, "no phone number", http.StatusBadRequest)
		return
	}
	r.received.Add(1)
	if r.told != nil {
		r.told(at, body)
	}
	r.wait()
	w.WriteHeader(http.StatusNoContent)
}

// hubInput is a row of a batch update.
type hubInput struct {
	ID         string            `json:"id"`
	Properties map[string]string `json:"properties"`
	Trace      string            `json:"objectWriteTraceId"`
}

func (r *reverseRemote) many(w http.ResponseWriter, req *http.Request) {
	var body struct {
		Inputs []hubInput `json:"inputs"`
	}
	if err := json.UnmarshalRead(req.Body, &body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b := append(make([]byte, 0, 20<<10), `{"status":"COMPLETE","results":[`...)
	for i, in := range body.Inputs {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"id":"%s","properties":{"phone":"%s","hs_object_id":"%s","lastmodifieddate":"2026-01-02T03:04:05.000Z"},`+
			`"createdAt":"2024-03-01T08:00:00.000Z","updatedAt":"2026-01-02T03:04:05.000Z","archived":false,"objectWriteTraceId":"%s"}`,
			in.ID, in.Properties["phone"], in.ID, in.Trace)
	}
	r.received.Add(int64(len(body.Inputs)))
	r.wait()
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, `],"startedAt":"2026-01-02T03:04:05.000Z","completedAt":"2026-01-02T03:04:05.000Z"}`...)) // a client that has gone is its own affair
}
