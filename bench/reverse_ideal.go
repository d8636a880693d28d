package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/errgroup"
)

// The fair ideal of the way back: it claims waiting rows in blocks, reads them
// and their links, compares them with the base, sends what differs and books a
// block in one transaction. While a block is sent, the next one is read and the
// one before it booked. It knows no lease, no position, no history of changes,
// no row that is refused and no second program beside it.

// exportBlock is how many rows the ideal deals with in one transaction.
const exportBlock = 1000

// exportRow is one row on its way out.
type exportRow struct {
	key      string
	version  int64
	remoteID string
	base     string
	fields   [8]sql.NullString // in the order of the mapping
	body     []byte            // what is sent of it: the members of an object
	next     string            // the base afterwards
	hash     int64
}

// exportStore is what the ideal asks of its database.
type exportStore interface {
	claim(ctx context.Context, connector int64, limit int) ([]exportRow, error)
	settle(ctx context.Context, connector int64, rows []exportRow) error
}

// exportIdeal is the hand-written loop.
type exportIdeal struct {
	db          exportStore
	connector   int64
	remote      string
	batched     bool
	concurrency int
	client      *http.Client
	counts      counts
}

// runIdealExport is the loop in a process of its own.
func runIdealExport(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("ideal-export", flag.ExitOnError)
	postgres := f.String("postgres", "", "database `URL`")
	sqlite := f.String("sqlite", "", "database `file`")
	form := f.String("form", formSingle, "how changes are sent")
	var x exportIdeal
	f.StringVar(&x.remote, "remote", "", "`URL` of the remote")
	f.Int64Var(&x.connector, "connector", 0, "`id` of the connector")
	_ = f.Parse(args) // exits by itself
	x.batched, x.concurrency = *form == formBatch, reverseConcurrency[*form]
	if x.concurrency == 0 {
		return fmt.Errorf("unknown form %q", *form)
	}
	x.client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: x.concurrency}}
	var db *sql.DB
	var err error
	if *postgres != "" {
		db, err = sql.Open("postgres", *postgres+exportPlansPostgres)
		x.db = exportPostgres{db}
	} else if db, err = sql.Open("sqlite", "file:"+*sqlite+sqliteOptions); err == nil {
		db.SetMaxOpenConns(1)
		x.db = exportSQLite{db}
	}
	if err != nil {
		return err
	}
	defer db.Close()
	if err := x.run(ctx); err != nil {
		return err
	}
	return json.MarshalWrite(os.Stdout, x.counts)
}

// run is three stages beside each other: read, send, book.
func (x *exportIdeal) run(ctx context.Context) error {
	begun := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	read, sent := make(chan []exportRow), make(chan []exportRow)
	g.Go(func() error {
		defer close(read)
		for {
			rows, err := x.db.claim(ctx, x.connector, exportBlock)
			if err != nil || len(rows) == 0 {
				return err
			}
			for i := range rows {
				if err := rows[i].diff(); err != nil {
					return err
				}
			}
			select {
			case read <- rows:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	g.Go(func() error {
		defer close(sent)
		for rows := range read {
			if err := x.send(ctx, rows); err != nil {
				return err
			}
			select {
			case sent <- rows:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	g.Go(func() error {
		for rows := range sent {
			if err := x.db.settle(ctx, x.connector, rows); err != nil {
				return err
			}
			x.counts.Read += len(rows)
			x.counts.Updated += len(rows)
		}
		return nil
	})
	err := g.Wait()
	x.counts.Seconds = time.Since(begun).Seconds()
	return err
}

// diff compares a row with its base.
func (r *exportRow) diff() error {
	dec := jsontext.NewDecoder(strings.NewReader(r.base))
	if _, err := dec.ReadToken(); err != nil { // [
		return err
	}
	next := make([]byte, 0, len(r.base)+16)
	var h xxhash.Digest
	h.Reset()
	for i := range r.fields {
		was, err := dec.ReadValue()
		if err != nil {
			return err
		}
		now := appendBaseField(nil, i, r.fields[i])
		if !bytes.Equal(was, now) {
			if len(r.body) > 0 {
				r.body = append(r.body, ',')
			}
			r.body = append(append(append(append(r.body, '"'), hubProperties[i]...), `":`...), now...)
		}
		next = append(append(next, ','), now...)
		_, _ = h.Write(now)
	}
	next[0] = '['
	r.next, r.hash = string(append(next, ']')), int64(h.Sum64())
	return nil
}

// appendBaseField writes a value as the base holds it: score and active bare.
func appendBaseField(b []byte, i int, v sql.NullString) []byte {
	switch {
	case !v.Valid:
		return append(b, "null"...)
	case i == 5 || i == 6:
		return append(b, v.String...)
	}
	b, _ = jsontext.AppendQuote(b, v.String) // valid UTF-8: the database says so
	return b
}

// send sends a block, so many calls at a time as are allowed.
func (x *exportIdeal) send(ctx context.Context, rows []exportRow) error {
	size := 1
	if x.batched {
		size = 100
	}
	parts := make(chan []exportRow, len(rows)/size+1)
	for from := 0; from < len(rows); from += size {
		parts <- rows[from:min(from+size, len(rows))]
	}
	close(parts)
	g, ctx := errgroup.WithContext(ctx)
	for range x.concurrency {
		g.Go(func() error {
			for part := range parts {
				var err error
				if x.batched {
					err = x.many(ctx, part)
				} else {
					err = x.one(ctx, &part[0])
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (x *exportIdeal) one(ctx context.Context, r *exportRow) error {
	body := make([]byte, 0, len(r.body)+2)
	body = append(append(append(body, '{'), r.body...), '}')
	return x.call(ctx, http.MethodPatch, "/contacts/"+r.remoteID, body, nil)
}

// many sends a batch; HubSpot wants texts, and every row must be in the answer.
func (x *exportIdeal) many(ctx context.Context, rows []exportRow) error {
	b := append(make([]byte, 0, 128*len(rows)), `{"inputs":[`...)
	for i := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, `{"id":"`...), rows[i].remoteID...), `","properties":{`...)
		b = append(append(b, rows[i].body...), `}}`...)
	}
	var answer struct {
		Results []struct {
			ID         string            `json:"id"`
			Properties map[string]string `json:"properties"`
		} `json:"results"`
	}
	err := x.call(ctx, http.MethodPost, "/crm/v3/objects/contacts/batch/update", append(b, `]}`...), &answer)
	if err == nil && len(answer.Results) != len(rows) {
		err = fmt.Errorf("the answer has %d rows of %d", len(answer.Results), len(rows))
	}
	return err
}

func (x *exportIdeal) call(ctx context.Context, method, path string, body []byte, into any) (err error) {
	req, err := http.NewRequestWithContext(ctx, method, x.remote+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := x.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	if res.StatusCode >= http.StatusMultipleChoices {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 500))
		return fmt.Errorf("%s: %s: %s", path, res.Status, text)
	}
	if into == nil {
		_, err = io.Copy(io.Discard, res.Body)
		return err
	}
	return json.UnmarshalRead(res.Body, into)
}
