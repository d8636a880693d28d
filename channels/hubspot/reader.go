package hubspot

import (
	"context"
	"io"
	"net/url"
	"slices"
	"strconv"
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
	c   *connector
	req channels.ReadRequest
	pos position

	list    *decoder // of full listings
	full    *rows    // reads what a full listing only named
	search  *decoder // of searches that give the values themselves
	changes *rows    // reads what a search only named
	brief   *decoder // of answers that only name contacts
	long    bool     // full listings only name contacts
}

// Close ends the listing; the connection stays with the channel.
func (r *reader) Close() error { return nil }

// ReadPage reads the next page. An error leaves the position where it was.
func (r *reader) ReadPage(ctx context.Context) (channels.Page, error) {
	if r.pos.Stage == stageEnd {
		return channels.Page{}, io.EOF
	}
	r.c.client.learnZone(ctx)
	if err := yield.Point(ctx, "page.before_fetch"); err != nil {
		return channels.Page{}, err
	}
	f, err := r.fetch(ctx)
	if err != nil {
		return channels.Page{}, err
	}
	if err := yield.Point(ctx, "page.after_fetch"); err != nil {
		return channels.Page{}, err
	}
	cursor, err := f.next.cursor()
	if err != nil {
		return channels.Page{}, fault.Wrap(fault.Permanent, fault.CodeBadAnswer, f.op, err)
	}
	page := channels.Page{
		Records: f.records, Next: cursor, Total: f.next.Total - 1, Bytes: f.bytes,
		RemoteNow: f.answer.RemoteNow, FetchStarted: f.answer.Started,
		Listed: f.next.Stage == stageGone || f.next.Stage == stageEnd,
	}
	r.pos = f.next
	return page, nil
}

// fetched is what one page brought.
type fetched struct {
	op      string
	answer  *transport.Response // of the first call
	records []record.Record
	bytes   int
	next    position
}

func (r *reader) fetch(ctx context.Context) (*fetched, error) {
	switch r.pos.Stage {
	case stageSearch:
		return r.fetchSearch(ctx)
	case stageGone:
		return r.fetchGone(ctx)
	}
	return r.fetchList(ctx)
}

// fetchList reads a page of all contacts.
func (r *reader) fetchList(ctx context.Context) (*fetched, error) {
	f := &fetched{op: "hubspot: list " + r.c.name}
	d, query := r.list, url.Values{"archived": {"false"}}
	size := listSize
	if r.long {
		d = r.brief
	} else if d.withHistory() {
		query.Set("propertiesWithHistory", strings.Join(d.mapped, ","))
		size = historySize
	}
	got, err := r.page(ctx, f, d, query, size)
	if err != nil {
		return nil, err
	}
	if r.long {
		if err := fill(ctx, r.full, f); err != nil {
			return nil, err
		}
	}
	f.records = r.keep(f.records)
	if got.after == "" {
		f.next = r.afterListing(f.next)
	}
	return f, nil
}

// fetchGone reads a page of archived contacts: HubSpot lists all of them, so
// those archived before the time of interest are dropped here.
func (r *reader) fetchGone(ctx context.Context) (*fetched, error) {
	f := &fetched{op: "hubspot: list archived " + r.c.name}
	got, err := r.page(ctx, f, r.brief, url.Values{"archived": {"true"}}, listSize)
	if err != nil {
		return nil, err
	}
	since := r.req.Since.Truncate(time.Millisecond)
	f.records = slices.DeleteFunc(f.records, func(x record.Record) bool {
		if x.Err != nil || x.Modified.IsZero() {
			return x.Err != nil // a tombstone without an id says nothing
		}
		return x.Modified.Before(since) || !r.req.Until.IsZero() && !x.Modified.Before(r.req.Until)
	})
	for i := range f.records {
		f.records[i].Deleted, f.records[i].Values, f.records[i].ChangedAt = true, nil, nil
	}
	if got.after == "" {
		f.next = position{Stage: stageEnd, Total: r.pos.Total}
	}
	return f, nil
}

// page reads one page of a listing by HubSpot's cursor.
func (r *reader) page(ctx context.Context, f *fetched, d *decoder, query url.Values, size int) (*page, error) {
	query.Set("limit", strconv.Itoa(size))
	query.Set("properties", strings.Join(d.names, ","))
	if r.pos.After != "" {
		query.Set("after", r.pos.After)
	}
	a, err := r.c.client.do(ctx, get(f.op, contactsPath, query))
	if err != nil {
		return nil, err
	}
	got, err := d.decode(f.op, a)
	if err != nil {
		return nil, err
	}
	f.answer, f.records, f.bytes, f.next = a, got.records, len(a.Body), r.pos
	if f.next.After = got.after; got.after != "" && got.after == r.pos.After {
		return nil, fault.New(fault.Retryable, codeStalled, f.op, "HubSpot's cursor of the next page is that of this page")
	}
	return got, nil
}

// codeStalled: the remote's answers would make the listing go round in circles.
const codeStalled = "cursor_stalled"

// afterListing gives what follows the listing proper.
func (r *reader) afterListing(p position) position {
	full := r.req.Since.IsZero()
	if r.c.archived == archivedNever || r.c.archived == archivedFull && !full {
		return position{Stage: stageEnd, Total: p.Total}
	}
	return position{Stage: stageGone, Total: p.Total}
}

// fill reads the contacts that the page only named.
func fill(ctx context.Context, by *rows, f *fetched) error {
	ids := make([]string, 0, len(f.records))
	var broken []record.Record
	for _, x := range f.records {
		if x.Err != nil || x.Deleted {
			broken = append(broken, x)
			continue
		}
		ids = append(ids, x.ID)
	}
	recs, n, err := by.read(ctx, ids)
	if err != nil {
		return err
	}
	f.records = slices.Concat(recs, broken)
	f.bytes += n
	return nil
}

// keep drops what lies outside of the request's window. Records that cannot be
// used or whose time is not known are kept.
func (r *reader) keep(recs []record.Record) []record.Record {
	until, since := r.req.Until, r.req.Since.Truncate(time.Millisecond)
	if until.IsZero() && r.req.Since.IsZero() {
		return recs
	}
	return slices.DeleteFunc(recs, func(x record.Record) bool {
		if x.Err != nil || x.Modified.IsZero() {
			return false
		}
		return !until.IsZero() && !x.Modified.Before(until) || !r.req.Since.IsZero() && x.Modified.Before(since)
	})
}
