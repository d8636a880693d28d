package hubspot

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

// A search takes one sort rule, gives 10,000 rows at most however it is paged,
// and its pages are offsets: a contact that changes while they are read moves to
// the end, and the one that takes its place at a page's border is missed. So no
// search is ever paged. Each page is a search of its own that begins where the
// last one ended: at the time of change of its last contact, inclusive, with
// the contacts of exactly that time left for the next page. When a whole page has
// one and the same time, the contacts of that time are read in the order of
// their ids.

// query is a search's body. The API description requires every member.
type searchQuery struct {
	FilterGroups []filterGroup `json:"filterGroups"`
	Sorts        []string      `json:"sorts"`
	Properties   []string      `json:"properties"`
	Limit        int           `json:"limit"`
	After        string        `json:"after"`
}

type filterGroup struct {
	Filters []filter `json:"filters"`
}

type filter struct {
	Property string `json:"propertyName"`
	Operator string `json:"operator"`
	Value    string `json:"value"`
}

func millis(ms int64) string { return strconv.FormatInt(ms, 10) }

// searchBody gives the search that reads the page at the position.
func (r *reader) searchBody(names []string) ([]byte, error) {
	q := searchQuery{Properties: names, Limit: searchSize, After: "0"}
	if tie := r.pos.Tie; tie != "" {
		q.Sorts = []string{idProperty}
		q.FilterGroups = []filterGroup{{[]filter{
			{modifiedProperty, "EQ", millis(r.pos.At)},
			{idProperty, "GT", tie},
		}}}
		return json.Marshal(q)
	}
	q.Sorts = []string{modifiedProperty}
	fs := []filter{{modifiedProperty, "GTE", millis(r.pos.At)}}
	if end := r.end(); end > 0 {
		fs = append(fs, filter{modifiedProperty, "LT", millis(end)})
	}
	q.FilterGroups = []filterGroup{{fs}}
	return json.Marshal(q)
}

// end is where the search ends, exclusive; 0 nowhere.
func (r *reader) end() int64 {
	end := r.pos.To
	if u := r.req.Until; !u.IsZero() {
		// Rounded up: what lies in the last millisecond is dropped by keep.
		if ms := u.Add(time.Millisecond - 1).UnixMilli(); end == 0 || ms < end {
			end = ms
		}
	}
	return end
}

// fetchSearch reads the next page of what changed.
func (r *reader) fetchSearch(ctx context.Context) (*fetched, error) {
	f := &fetched{op: "hubspot: search " + r.c.name}
	d := r.search
	named := d.times // a search gives no history: it only names contacts then
	if named {
		d = r.brief
	}
	body, err := r.searchBody(d.names)
	if err != nil {
		return nil, fault.Wrap(fault.Permanent, fault.CodeFailed, f.op, err)
	}
	q := ask(f.op, contactsPath+"/search", nil, body)
	q.Limit = r.c.client.searches
	a, err := r.c.client.do(ctx, q)
	if err != nil {
		return nil, err
	}
	got, err := d.decode(f.op, a)
	if err != nil {
		return nil, err
	}
	f.answer, f.records, f.bytes = a, got.records, len(a.Body)
	if err := r.advance(f, got); err != nil {
		return nil, err
	}
	if named {
		if err := fill(ctx, r.changes, f); err != nil {
			return nil, err
		}
	}
	f.records = r.keep(f.records)
	return f, nil
}

// advance finds what follows the page, and takes out of it what the next one
// brings again.
func (r *reader) advance(f *fetched, got *page) error {
	f.next = r.pos.bound(f.answer.RemoteNow)
	if f.next.Total == 0 && got.total >= 0 {
		f.next.Total = got.total + 1
	}
	more := got.after != ""
	if r.pos.Tie != "" {
		return r.advanceTie(f, more)
	}
	if !more {
		f.next = r.afterListing(f.next)
		return nil
	}
	first, last, err := span(f.op, f.records)
	if err != nil {
		return err
	}
	if last < r.pos.At {
		return fault.New(fault.Retryable, codeStalled, f.op, "the search gave contacts from before the time it asked for")
	}
	f.next.At = last
	if first == last {
		// The whole page has one time: go through it by id, from its beginning.
		f.records = f.records[:0]
		f.next.Tie = "0"
		return nil
	}
	kept := f.records[:0]
	for _, x := range f.records {
		if x.Err != nil || x.Modified.UnixMilli() != last {
			kept = append(kept, x)
		}
	}
	f.records = kept
	return nil
}

func (r *reader) advanceTie(f *fetched, more bool) error {
	if !more {
		f.next.At, f.next.Tie = r.pos.At+1, ""
		return nil
	}
	largest, err := strconv.ParseUint(r.pos.Tie, 10, 64)
	if err != nil {
		return fault.Wrap(fault.Permanent, fault.CodeConflict, f.op, err)
	}
	begin := largest
	for _, x := range f.records {
		id, err := strconv.ParseUint(x.ID, 10, 64)
		if err != nil {
			return fault.New(fault.Retryable, fault.CodeBadAnswer, f.op, "a contact's id is not a number: %q", short(x.ID))
		}
		if id < largest {
			return fault.New(fault.Retryable, fault.CodeBadAnswer, f.op, "the search is not in the order it was asked for")
		}
		largest = id
	}
	if largest == begin {
		return fault.New(fault.Retryable, codeStalled, f.op, "the search says there is more and gives nothing new")
	}
	f.next.Tie = strconv.FormatUint(largest, 10)
	return nil
}

// span gives the first and the last time of change of a page, in milliseconds.
// A page out of order must not move the position: what was passed over would be
// missed.
func span(op string, recs []record.Record) (first, last int64, err error) {
	for _, x := range recs {
		if x.Err != nil {
			continue
		}
		at := x.Modified.UnixMilli()
		if x.Modified.IsZero() {
			return 0, 0, fault.New(fault.Retryable, fault.CodeBadAnswer, op, "contact %s has no %s", short(x.ID), modifiedProperty)
		}
		if at < last {
			return 0, 0, fault.New(fault.Retryable, fault.CodeBadAnswer, op, "the search is not in the order it was asked for")
		}
		if first == 0 {
			first = at
		}
		last = at
	}
	if last == 0 {
		return 0, 0, fault.New(fault.Retryable, codeStalled, op, "the search says there is more and gives nothing")
	}
	return first, last, nil
}
