package hubspot

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
	"github.com/tandem-sync/tandem/transport"
)

// The property that holds a contact's time of change; searches filter and sort
// by it.
const (
	modifiedProperty = "lastmodifieddate"
	idProperty       = "hs_object_id"
)

// mergedProperties tell the ids of contacts that were merged into a contact: plain
// ones, and ones with the time of the merge behind a colon.
var mergedProperties = []string{"hs_merged_object_ids", "hs_calculated_merged_vids"}

// Bounds of one record.
const (
	maxRecord = 4 << 20
	maxID     = 64
)

// page is one decoded answer.
type page struct {
	records []record.Record
	after   string // the cursor of the next page; "" there is none
	total   int64  // -1: not told
	errors  []byte // of a batch, as JSON
}

// decoder decodes the answers of one listing. Not safe for concurrent use.
type decoder struct {
	*plan
	s    scanner
	mem  *record.Arena
	got  page
	seen bool // the answer has results
	last int  // records of the answer before

	// The record under way.
	id         string
	values     []record.Value
	changed    []time.Time
	modified   time.Time // by the property
	updated    time.Time
	archivedAt time.Time
	archived   bool
	flaw       string
	former     []string

	// The history entries under way.
	newest  time.Time
	onMore  func([]byte, int) int
	onProp  func([]byte, int) int
	onHist  func([]byte, int) int
	onItem  func(int) int
	onEntry func([]byte, int) int
	onNext  func([]byte, int) int
	onPages func([]byte, int) int
	onTop   func([]byte, int) int
	onRec   func(int) int
}

func (p *plan) decoder() *decoder {
	d := &decoder{plan: p, values: make([]record.Value, p.fields), changed: make([]time.Time, p.fields)}
	d.onMore, d.onProp, d.onHist, d.onItem, d.onEntry = d.member, d.prop, d.history, d.item, d.entry
	d.onNext, d.onPages, d.onTop, d.onRec = d.next, d.pages, d.top, d.record
	return d
}

// decode reads an answer's body, whose memory the records' Raw shares.
func (d *decoder) decode(op string, a *transport.Response) (*page, error) {
	body := bytes.TrimPrefix(a.Body, []byte("\xef\xbb\xbf"))
	if !jsontext.Value(body).IsValid(lenient...) {
		return nil, notJSON(op, a)
	}
	d.s.b, d.seen = body, false
	d.mem = record.NewArena(d.last)
	d.got = page{records: make([]record.Record, 0, d.last), total: -1}
	d.s.object(d.s.ws(0), d.onTop)
	got := d.got
	d.s.b, d.got, d.mem, d.last = nil, page{}, nil, len(got.records)
	if !d.seen {
		return nil, fault.New(fault.Retryable, fault.CodeBadAnswer, op, "the answer is JSON without results (%d bytes)", len(a.Body)).
			WithHint("is base_url right? a proxy may have answered")
	}
	return &got, nil
}

// one reads an answer that is a single record.
func (d *decoder) one(op string, a *transport.Response) (record.Record, error) {
	body := bytes.TrimPrefix(a.Body, []byte("\xef\xbb\xbf"))
	if !jsontext.Value(body).IsValid(lenient...) {
		return record.Record{}, notJSON(op, a)
	}
	d.s.b, d.mem, d.got = body, record.NewArena(0), page{}
	d.record(d.s.ws(0))
	r := d.got.records[0]
	d.s.b, d.got, d.mem = nil, page{}, nil
	return r, nil
}

func notJSON(op string, a *transport.Response) error {
	body := strings.TrimSpace(string(a.Body[:min(len(a.Body), 64)]))
	switch {
	case body == "":
		return fault.New(fault.Retryable, fault.CodeBadAnswer, op, "the answer is empty")
	case strings.HasPrefix(body, "<") || strings.Contains(a.Header.Get("Content-Type"), "html"):
		return fault.New(fault.Retryable, fault.CodeBadAnswer, op, "the answer is HTML, not JSON").
			WithHint("is base_url right? a login page or a proxy may have answered")
	}
	return fault.New(fault.Retryable, fault.CodeBadAnswer, op, "the answer is not valid JSON (%d bytes): it may have been cut off", len(a.Body))
}

func (d *decoder) top(name []byte, i int) int {
	switch string(name) {
	case "results":
		d.seen = d.s.b[i] == '['
		return d.s.array(i, d.onRec)
	case "paging":
		return d.s.object(i, d.onPages)
	case "total":
		end := d.s.skip(i)
		if n, err := strconv.ParseInt(string(d.s.b[i:end]), 10, 64); err == nil {
			d.got.total = n
		}
		return end
	case "errors":
		end := d.s.skip(i)
		d.got.errors = d.s.b[i:end]
		return end
	}
	return d.s.skip(i)
}

func (d *decoder) pages(name []byte, i int) int {
	if string(name) == "next" {
		return d.s.object(i, d.onNext)
	}
	return d.s.skip(i)
}

func (d *decoder) next(name []byte, i int) int {
	end := d.s.skip(i)
	if string(name) == "after" {
		d.got.after, _ = d.plain(i, end)
	}
	return end
}

// plain gives a text or number at i as text, and whether a database can keep it;
// "" for anything else.
func (d *decoder) plain(i, end int) (string, bool) {
	switch c := d.s.b[i]; {
	case c == '"':
		text, ok := d.s.unquote(d.s.b[i:end])
		return string(text), ok
	case c >= '0' && c <= '9':
		return string(d.s.b[i:end]), true
	}
	return "", true
}

// record reads the record at i.
func (d *decoder) record(i int) int {
	d.id, d.modified, d.updated, d.archivedAt, d.archived, d.flaw = "", time.Time{}, time.Time{}, time.Time{}, false, ""
	d.former = nil
	clear(d.values)
	clear(d.changed)
	end := d.s.object(i, d.onMore)
	r := record.Record{ID: d.id, Raw: d.s.b[i:end:end], Modified: d.modified, Deleted: d.archived}
	if r.Modified.IsZero() {
		r.Modified = d.updated
	}
	switch {
	case d.s.b[i] != '{':
		r.Err = bad(fault.CodeBadRecord, "the record is not an object")
	case end-i > maxRecord:
		r.Raw, r.Err = nil, bad("record_too_large", "the record is larger than %d MiB", maxRecord>>20)
	case d.id == "" || len(d.id) > maxID:
		r.Err = bad("missing_id", "the record has no usable id")
	case d.flaw != "" && !r.Deleted:
		r.Err = bad(fault.CodeBadRecord, "property %s is not text that a database can keep", d.flaw)
	case r.Deleted:
		if !d.archivedAt.IsZero() {
			r.Modified = d.archivedAt
		}
	default:
		r.Values = d.mem.Values(d.fields)
		copy(r.Values, d.values)
		if d.former = slices.DeleteFunc(d.former, func(id string) bool { return id == d.id }); len(d.former) > 0 {
			r.Renamed = &record.Renamed{From: d.former}
		}
		if d.times {
			r.ChangedAt = slices.Clone(d.changed)
		}
	}
	d.got.records = append(d.got.records, r)
	return end
}

func bad(code, format string, args ...any) error {
	return fault.New(fault.Permanent, code, "", format, args...)
}

func (d *decoder) member(name []byte, i int) int {
	switch string(name) {
	case "properties":
		return d.s.object(i, d.onProp)
	case "propertiesWithHistory":
		if d.times {
			return d.s.object(i, d.onHist)
		}
		return d.s.skip(i)
	}
	end := d.s.skip(i)
	switch string(name) {
	case "id":
		var ok bool
		if d.id, ok = d.plain(i, end); !ok {
			d.id = "" // no id can be told from another by what is left of it
		}
	case "updatedAt":
		d.updated = d.time(i, end)
	case "archivedAt":
		d.archivedAt = d.time(i, end)
	case "archived":
		d.archived = d.s.b[i] == 't'
	}
	return end
}

func (d *decoder) prop(name []byte, i int) int {
	end := d.s.skip(i)
	p := d.props[string(name)]
	if p == nil {
		return end
	}
	if p.modified {
		d.modified = d.time(i, end)
	}
	if p.merged && d.s.b[i] == '"' {
		d.merged(i, end)
	}
	if len(p.slots) == 0 {
		return end
	}
	v, ok := d.value(d.s.b[i:end])
	if !ok && d.flaw == "" {
		d.flaw = p.name
	}
	for _, slot := range p.slots {
		d.values[slot] = v
	}
	return end
}

// merged reads the ids of contacts that were merged into the one under way.
func (d *decoder) merged(i, end int) {
	text, _ := d.plain(i, end)
	for part := range strings.SplitSeq(text, ";") {
		id, _, _ := strings.Cut(strings.TrimSpace(part), ":")
		if numeric(id) && !slices.Contains(d.former, id) {
			d.former = append(d.former, id)
		}
	}
}

// value makes a value of raw. HubSpot writes every property as text; other kinds
// are kept as they are in case it changes its mind.
func (d *decoder) value(raw []byte) (record.Value, bool) {
	switch raw[0] {
	case '"':
		text, ok := d.s.unquote(raw)
		return record.Value{Kind: record.Text, Text: d.mem.Text(text)}, ok
	case 'n':
		return record.NullValue, true
	case 't', 'f':
		return record.B(raw[0] == 't'), true
	case '{', '[':
		compact := jsontext.Value(slices.Clone(raw))
		err := compact.Compact(lenient...)
		return record.J(string(compact)), err == nil
	}
	return record.N(d.mem.Text(raw)), true
}

// history reads the entries of one property; the newest one is when the present
// value came. The order of entries is not promised, so all of them are looked at.
func (d *decoder) history(name []byte, i int) int {
	p := d.props[string(name)]
	if p == nil || len(p.slots) == 0 {
		return d.s.skip(i)
	}
	d.newest = time.Time{}
	end := d.s.array(i, d.onItem)
	for _, slot := range p.slots {
		d.changed[slot] = d.newest
	}
	return end
}

func (d *decoder) item(i int) int { return d.s.object(i, d.onEntry) }

func (d *decoder) entry(name []byte, i int) int {
	end := d.s.skip(i)
	if string(name) == "timestamp" {
		if t := d.time(i, end); t.After(d.newest) {
			d.newest = t
		}
	}
	return end
}

// time reads an RFC 3339 text or unix milliseconds; anything else is the zero
// time: not known.
func (d *decoder) time(i, end int) time.Time {
	raw := bytes.Trim(d.s.b[i:end], `"`)
	if t, err := time.Parse(time.RFC3339, string(raw)); err == nil {
		return t.UTC()
	}
	if ms, err := strconv.ParseInt(string(raw), 10, 64); err == nil && ms > 0 && ms < 1<<50 {
		return time.UnixMilli(ms).UTC()
	}
	return time.Time{}
}
