package rest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/sync/record"
	"github.com/tandem-sync/tandem/transport"
)

// reader reads a listing page by page. Not safe for concurrent use.
type reader struct {
	c    *connector
	req  channels.ReadRequest
	pos  position
	list *decoder
	gone *decoder // nil without a list of tombstones
}

// Close ends the listing; the connection stays with the channel.
func (r *reader) Close() error { return nil }

func (r *reader) op() string {
	if r.pos.Stage == stageGone {
		return "rest: list deleted " + r.c.name
	}
	return "rest: list " + r.c.name
}

// ReadPage reads the next page. An error leaves the position where it was.
func (r *reader) ReadPage(ctx context.Context) (channels.Page, error) {
	if r.pos.Stage == stageEnd {
		return channels.Page{}, io.EOF
	}
	call, err := r.request()
	if err != nil {
		return channels.Page{}, err
	}
	if err := yield.Point(ctx, "page.before_fetch"); err != nil {
		return channels.Page{}, err
	}
	resp, err := r.c.http.Do(ctx, call)
	if err != nil {
		return channels.Page{}, err
	}
	if err := yield.Point(ctx, "page.after_fetch"); err != nil {
		return channels.Page{}, err
	}
	got, err := r.decode(resp)
	if err != nil {
		return channels.Page{}, err
	}
	next, err := r.advance(got, resp)
	if err != nil {
		return channels.Page{}, err
	}
	cursor, err := next.cursor()
	if err != nil {
		return channels.Page{}, fault.Wrap(fault.Permanent, fault.CodeBadAnswer, r.op(), err)
	}
	count := total(got.total)
	if r.pos.Stage == stageGone {
		count = -1 // it counts tombstones
	}
	page := channels.Page{
		Records: r.keep(got.records), Next: cursor, Total: count, Bytes: len(resp.Body),
		RemoteNow: resp.RemoteNow, FetchStarted: resp.Started, Listed: next.Stage != stageList,
	}
	r.pos = next
	return page, nil
}

func (r *reader) decode(resp *transport.Response) (*answer, error) {
	if resp.Status == http.StatusNoContent {
		return &answer{found: true}, nil
	}
	d := r.list
	if r.pos.Stage == stageGone {
		d = r.gone
	}
	got, err := d.decode(resp.Body)
	switch {
	case err != nil:
		return nil, badAnswer(r.op(), resp, err)
	case !got.found:
		return nil, fault.New(fault.Retryable, fault.CodeBadAnswer, r.op(), "the answer has nothing at %q", d.shape.records).
			WithHint("check list.records; the answer has: " + keysOf(resp.Body))
	case got.wrong != "":
		return nil, fault.New(fault.Retryable, fault.CodeBadAnswer, r.op(), "the answer has no list at %q but %s", d.shape.records, got.wrong).
			WithHint("check list.records")
	}
	return got, nil
}

// badAnswer says why an answer is not JSON.
func badAnswer(op string, resp *transport.Response, err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		c := *f
		c.Op = op
		return &c
	}
	body := strings.TrimSpace(string(resp.Body[:min(len(resp.Body), 64)]))
	switch {
	case body == "":
		return fault.New(fault.Retryable, fault.CodeBadAnswer, op, "the answer is empty").WithHint(oddAnswer)
	case strings.HasPrefix(body, "<") || strings.Contains(resp.Header.Get("Content-Type"), "html"):
		return fault.New(fault.Retryable, fault.CodeBadAnswer, op, "the answer is HTML or XML, not JSON").
			WithHint("is base_url right? a login page or a proxy may have answered")
	}
	return fault.New(fault.Retryable, fault.CodeBadAnswer, op, "the answer is not valid JSON (%d bytes): %w", len(resp.Body), err).WithHint(oddAnswer)
}

const oddAnswer = "is the path right? the remote or a proxy before it may cut its answers off"

// keysOf lists the names an answer has, for the hint of a wrong path.
func keysOf(body []byte) string {
	var m map[string]json.RawMessage
	if json.Unmarshal(body, &m) != nil {
		return "a list at its top: records: \"\""
	}
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return strings.Join(names[:min(len(names), 20)], ", ")
}

// keep drops what lies outside of the window. Records that cannot be used or
// whose time is unknown are kept.
func (r *reader) keep(recs []record.Record) []record.Record {
	until, since := r.req.Until, r.req.Since.Truncate(time.Second) // remotes cut their times
	if r.c.list.since.given() {
		since = time.Time{} // the remote has applied it
	}
	if until.IsZero() && since.IsZero() {
		return recs
	}
	return slices.DeleteFunc(recs, func(x record.Record) bool {
		if x.Err != nil || x.Modified.IsZero() {
			return false
		}
		return !until.IsZero() && !x.Modified.Before(until) || x.Modified.Before(since)
	})
}
