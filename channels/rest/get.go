package rest

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/sync/record"
	"github.com/tandem-sync/tandem/transport"
)

// getter is a connector that can read records by id.
type getter struct {
	*connector
	plan atomic.Pointer[plan] // of the last Get
}

// compile gives the plan that reads fields.
func (g *getter) compile(fields []string) (*plan, error) {
	if p := g.plan.Load(); p != nil && slices.Equal(p.fields, fields) {
		return p, nil
	}
	p, err := shape{
		records: g.getRecord, single: true, id: g.id, modified: g.modified,
		deletedField: g.deletedField, formerIDs: g.formerIDs, format: g.list.since.format,
	}.compile(slices.Clone(fields))
	if err == nil {
		g.plan.Store(p)
	}
	return p, err
}

// Get reads the records one call each, transport.concurrency at a time, and
// gives them in the order of ids. 404 and 410 mean Deleted. A failure that is
// not about one record ends the whole Get with that error.
func (g *getter) Get(ctx context.Context, fields, ids []string) ([]record.Record, error) {
	p, err := g.compile(fields)
	if err != nil {
		return nil, fault.Wrap(fault.Permanent, fault.CodeConfig, g.op(), err)
	}
	if len(ids) == 1 {
		rec, err := g.one(ctx, p.decoder(), ids[0])
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, err
		}
		return []record.Record{rec}, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := make([]record.Record, len(ids))
	work := make(chan int)
	var wg sync.WaitGroup
	for range min(g.http.Concurrency(), len(ids)) {
		wg.Go(func() {
			d := p.decoder()
			for i := range work {
				rec, err := g.one(ctx, d, ids[i])
				if err != nil {
					cancel(err)
				}
				out[i] = rec
			}
		})
	}
	for i := range ids {
		if ctx.Err() != nil {
			break
		}
		work <- i
	}
	close(work)
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return out, nil
}

func (g *getter) op() string { return "rest: get " + g.name }

// one reads one record; an error is one of the remote as a whole.
func (g *getter) one(ctx context.Context, d *decoder, id string) (record.Record, error) {
	rec := record.Record{ID: id}
	if err := checkID(id); err != nil {
		rec.Err = err
		return rec, nil
	}
	if err := yield.Point(ctx, "get.before_fetch"); err != nil {
		return rec, err
	}
	path := strings.ReplaceAll(g.getPath, "{id}", escapeID(g.getPath, id))
	resp, err := g.http.Do(ctx, transport.Request{Op: g.op(), Path: path})
	switch {
	case err == nil:
	case fault.CodeOf(err) == fault.CodeNotFound:
		rec.Deleted = true
		return rec, nil
	case aboutOne(err):
		rec.Err = err
		return rec, nil
	default:
		return rec, err
	}
	rec, told := g.read(d, id, resp)
	if told == "" {
		return rec, nil
	}
	if leads, err := g.leads(ctx, d, told); err != nil || !leads {
		return rec, err
	}
	return record.Record{ID: id, Deleted: true, Renamed: &record.Renamed{To: told}}, nil
}

// leads reports whether id is that of a record: a read that was answered by another
// record, as after a merge or a redirect, is believed only where that one answers
// to its id. A wrong path or a wrong place of the id would be so, too.
func (g *getter) leads(ctx context.Context, d *decoder, id string) (bool, error) {
	if checkID(id) != nil || len(id) > maxID {
		return false, nil
	}
	path := strings.ReplaceAll(g.getPath, "{id}", escapeID(g.getPath, id))
	resp, err := g.http.Do(ctx, transport.Request{Op: g.op(), Path: path})
	if err != nil {
		if fault.CodeOf(err) == fault.CodeNotFound || aboutOne(err) {
			err = nil
		}
		return false, err
	}
	rec, told := g.read(d, id, resp)
	return rec.Err == nil && told == "", nil
}

// aboutOne reports whether only this one id suffers from err.
func aboutOne(err error) bool {
	code := fault.CodeOf(err)
	return fault.Of(err) == fault.Permanent && (code == "refused" || code == "page_too_large" || code == fault.CodeBadAnswer)
}

// read decodes the answer to a read of id. told is the id of another record that
// it is about; "" where it is about this one or says no id.
func (g *getter) read(d *decoder, id string, resp *transport.Response) (rec record.Record, told string) {
	d.asked = id
	got, err := d.decode(resp.Body)
	if err != nil {
		return record.Record{ID: id, Err: badAnswer(g.op(), resp, err)}, ""
	}
	if len(got.records) != 1 {
		return record.Record{ID: id, Err: fault.New(fault.Permanent, fault.CodeBadAnswer, g.op(), "the answer has no record at %q", g.getRecord).
			WithHint("check get.record; the answer has: " + keysOf(resp.Body))}, ""
	}
	rec = got.records[0]
	if rec.ID != "" && rec.ID != id && rec.Err == nil {
		told = rec.ID
		rec.Err = fault.New(fault.Permanent, fault.CodeBadAnswer, g.op(), "asked for id %q, the answer is about %q", id, rec.ID)
		rec.Values, rec.Renamed = nil, nil
	}
	rec.ID = id
	if rec.Version, err = g.version(resp); err != nil && rec.Err == nil {
		rec.Err = err
	}
	return rec, told
}

// version gives the version of the record in an answer in the form of If-Match;
// "" where none is asked for or told.
func (g *getter) version(resp *transport.Response) (string, error) {
	at := g.write.versionAt()
	switch at {
	case "":
		return "", nil
	case matchETag:
		return resp.Header.Get("ETag"), nil
	}
	v := scalarIn(resp.Body, g.getRecord, at)
	if v == "" || strings.HasPrefix(v, `"`) || strings.HasPrefix(v, `W/"`) {
		return v, nil
	}
	if strings.ContainsFunc(v, func(r rune) bool { return r < '!' || r == '"' || r > '~' }) {
		return "", fault.New(fault.Permanent, fault.CodeBadAnswer, g.op(), "the version %q at %q cannot be sent as If-Match", v, at)
	}
	return `"` + v + `"`, nil
}

// checkID refuses ids that would make another path of the address.
func checkID(id string) error {
	if id == "" || id == "." || id == ".." || strings.ContainsRune(id, 0) {
		return fault.New(fault.Permanent, fault.CodeBadRecord, "", "the id %q cannot be part of an address", id)
	}
	return nil
}

// escapeID escapes id for its place in path: behind a question mark it is part
// of the query.
func escapeID(path, id string) string {
	if q := strings.IndexByte(path, '?'); q >= 0 && q < strings.Index(path, "{id}") {
		return url.QueryEscape(id)
	}
	return url.PathEscape(id)
}
