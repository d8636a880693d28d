package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json/jsontext"
)

// The fair ideal: what a good engineer would write by hand for this one API,
// this one table and nothing else. It reads pages ahead, decodes only the
// fields it needs, and hands batches to writers. It knows no lease, no resume,
// no bad record and no second run at the same time.

// batchSize is how many contacts the ideal writes in one transaction.
const batchSize = 2000

// contact is one record: its id and the eight mapped fields as text.
type contact struct {
	id                                 string
	email, first, last, phone, company string
	score, active, birthday            string
	hash                               int64
}

// counts is what an ideal loop prints when it is done.
type counts struct {
	Read      int     `json:"read"`
	Created   int     `json:"created"`
	Updated   int     `json:"updated"`
	Unchanged int     `json:"unchanged"`
	Seconds   float64 `json:"seconds"` // of the loop, without the start of the program
}

// reading is how the ideal reads one API: its pages, and the contacts in them.
type reading struct {
	fetch func(ctx context.Context, base string, pages chan<- []byte) error
	page  func(body []byte, batch []contact) ([]contact, error)
}

func readREST() reading { return reading{fetchPages, (&decoder{}).page} }

func readHubSpot() reading { return reading{fetchHubSpot, (&hubDecoder{}).page} }

// fetchPages gets one page after the other and sends their bodies on. The
// cursor is read from the tail of the page, so that the next request leaves
// before this page is decoded.
func fetchPages(ctx context.Context, base string, pages chan<- []byte) error {
	defer close(pages)
	client := &http.Client{Timeout: time.Minute}
	cursor := ""
	for {
		body, err := fetch(ctx, client, base+"/contacts?cursor="+cursor, http.Header{})
		if err != nil {
			return err
		}
		select {
		case pages <- body:
		case <-ctx.Done():
			return ctx.Err()
		}
		at := bytes.LastIndex(body, []byte(`"next":`))
		if at < 0 {
			return errors.New("a page without next")
		}
		next := bytes.Trim(body[at+len(`"next":`):], `"}`)
		if string(next) == "null" {
			return nil
		}
		cursor = string(next)
	}
}

func fetch(ctx context.Context, client *http.Client, url string, header http.Header) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, res.Status)
	}
	body := make([]byte, max(res.ContentLength, 0))
	_, err = io.ReadFull(res.Body, body)
	return body, err
}

// batches decodes pages and cuts them into batches.
func (r reading) batches(ctx context.Context, pages <-chan []byte, out chan<- []contact) error {
	defer close(out)
	batch := make([]contact, 0, batchSize)
	send := func() error {
		select {
		case out <- batch:
			batch = make([]contact, 0, batchSize)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for body := range pages {
		var err error
		if batch, err = r.page(body, batch); err != nil {
			return err
		}
		if len(batch) >= batchSize {
			if err := send(); err != nil {
				return err
			}
		}
	}
	if len(batch) > 0 {
		return send()
	}
	return nil
}

// decoder decodes pages with jsontext; texts without escapes are cut out of
// one string a page.
type decoder struct {
	dec  *jsontext.Decoder
	in   bytes.Reader
	text string
}

func (d *decoder) page(body []byte, batch []contact) ([]contact, error) {
	return d.list(body, `"items"`, batch, d.contact)
}

// list decodes the member called name of a page, a list of contacts.
func (d *decoder) list(body []byte, name string, batch []contact, one func(*contact) error) ([]contact, error) {
	d.in.Reset(body)
	if d.dec == nil {
		d.dec = jsontext.NewDecoder(&d.in, jsontext.AllowDuplicateNames(true))
	} else {
		d.dec.Reset(&d.in, jsontext.AllowDuplicateNames(true))
	}
	d.text = string(body)
	err := d.object(func(member []byte) (err error) {
		if string(member) != name {
			return d.dec.SkipValue()
		}
		batch, err = d.items(batch, one)
		return err
	})
	return batch, err
}

// object calls fn for each member, which must read its value.
func (d *decoder) object(fn func(name []byte) error) error {
	if _, err := d.dec.ReadToken(); err != nil { // {
		return err
	}
	for d.dec.PeekKind() == '"' {
		name, err := d.dec.ReadValue()
		if err == nil {
			err = fn(name)
		}
		if err != nil {
			return err
		}
	}
	_, err := d.dec.ReadToken() // }
	return err
}

func (d *decoder) items(batch []contact, one func(*contact) error) ([]contact, error) {
	if _, err := d.dec.ReadToken(); err != nil { // [
		return nil, err
	}
	for d.dec.PeekKind() == '{' {
		batch = append(batch, contact{})
		if err := one(&batch[len(batch)-1]); err != nil {
			return nil, err
		}
	}
	_, err := d.dec.ReadToken() // ]
	return batch, err
}

func (d *decoder) contact(c *contact) error {
	err := d.object(func(name []byte) (err error) {
		into := c.field(name)
		if into == nil {
			return d.dec.SkipValue()
		}
		*into, err = d.value()
		return err
	})
	c.hash = c.digest()
	return err
}

func (c *contact) field(name []byte) *string {
	switch string(name) {
	case `"id"`:
		return &c.id
	case `"email"`:
		return &c.email
	case `"first_name"`:
		return &c.first
	case `"last_name"`:
		return &c.last
	case `"phone"`:
		return &c.phone
	case `"company"`:
		return &c.company
	case `"score"`:
		return &c.score
	case `"active"`:
		return &c.active
	case `"birthday"`:
		return &c.birthday
	}
	return nil
}

// value reads a text, number or boolean.
func (d *decoder) value() (string, error) {
	v, err := d.dec.ReadValue()
	if err != nil {
		return "", err
	}
	end := int(d.dec.InputOffset())
	raw := d.text[end-len(v) : end]
	if raw[0] != '"' {
		return raw, nil
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	plain, err := jsontext.AppendUnquote(nil, v)
	return string(plain), err
}

// digest is the hash that tells a changed contact from an unchanged one.
func (c *contact) digest() int64 {
	var h xxhash.Digest
	h.Reset()
	for _, s := range [...]string{c.email, c.first, c.last, c.phone, c.company, c.score, c.active, c.birthday} {
		_, _ = h.WriteString(s)
		_, _ = h.WriteString("\x00")
	}
	return int64(h.Sum64())
}

// appendBase writes the values both sides hold, as Tandem's links keep them: a
// JSON array in the order of the mapping.
func (c *contact) appendBase(b []byte) []byte {
	for i, s := range [...]string{c.email, c.first, c.last, c.phone, c.company, c.score, c.active, c.birthday} {
		if i == 0 {
			b = append(b, '[')
		} else {
			b = append(b, ',')
		}
		b, _ = jsontext.AppendQuote(b, s) // valid UTF-8: it was decoded
	}
	return append(b, ']')
}

// appendInt is strconv.AppendInt to base 10 with a separator before it.
func appendInt(b []byte, separator byte, n int64) []byte {
	return strconv.AppendInt(append(b, separator), n, 10)
}
