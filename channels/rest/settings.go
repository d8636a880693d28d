package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/transport/settings"
)

// paging says how a listing goes on from page to page.
type paging string

const (
	byNone    paging = "none"
	byPage    paging = "page"
	byOffset  paging = "offset"
	byCursor  paging = "cursor"
	byNextURL paging = "next_url"
	byLink    paging = "link"
)

// numbered reports whether pages are found by number, so that a change of the
// list while it is read moves records from page to page.
func (p paging) numbered() bool { return p == byPage || p == byOffset }

// pageSettings is remote.list.page.
type pageSettings struct {
	by         paging
	param      string
	sizeParam  string
	size       int
	tokenAt    string
	tokenParam string
	nextAt     string
	totalAt    string
}

// listSettings is remote.list.
type listSettings struct {
	method  string
	path    string
	query   []settings.Pair
	body    *bodyTemplate
	records string
	page    pageSettings
	since   sinceSettings
}

// sinceSettings is remote.list.since.
type sinceSettings struct {
	name     string // of the query key; "" none
	template string
	body     *bodyTemplate
	format   timeFormat
}

func (s sinceSettings) given() bool { return s.name != "" || s.body != nil }

// remoteSettings is a connector's remote.
type remoteSettings struct {
	list           listSettings
	id             string
	modified       string
	deletedField   string
	deletedPath    string
	deletedRecords string
	formerIDs      string
	getPath        string
	getRecord      string
	write          writeSettings
}

// parseRemote reads one connector's remote and reports every problem.
func parseRemote(o settings.Object) remoteSettings {
	var r remoteSettings
	if !o.Has("list") {
		o.Report("list", "list: {path: /contacts, records: items}", "is missing")
	}
	r.list = parseList(o.Object("list"), o.Has("list"))
	r.id = checkedPath(o, "id", "id", true)
	r.modified = checkedPath(o, "modified", "", false)
	r.formerIDs = checkedPath(o, "former_ids", "", false)
	parseDeleted(o, &r)
	if o.Has("get") {
		g := o.Object("get")
		r.getPath = checkedURL(g, "path", true)
		r.getRecord = checkedPath(g, "record", "", false)
		if r.getPath != "" && !strings.Contains(r.getPath, "{id}") {
			g.Report("path", `for example "/contacts/{id}"`, "must hold {id}")
		}
		g.Done()
	}
	r.write = parseWrites(o, r)
	o.Done()
	return r
}

func parseDeleted(o settings.Object, r *remoteSettings) {
	if !o.Has("deleted") {
		return
	}
	d := o.Object("deleted")
	defer d.Done()
	r.deletedField = checkedPath(d, "field", "", false)
	r.deletedPath = checkedURL(d, "path", false)
	r.deletedRecords = checkedPath(d, "records", "", false)
	switch {
	case d.Has("field") && (d.Has("path") || d.Has("records")):
		d.Report("field", "keep either field, or path with records", "cannot stand beside path")
	case !d.Has("field") && !d.Has("path"):
		d.Report("", "deleted: {path: /deleted, records: ids} or {field: archived}", "names neither path nor field")
	}
}

func parseList(o settings.Object, given bool) listSettings {
	l := listSettings{
		method:  o.Choice("method", http.MethodGet, http.MethodGet, http.MethodPost),
		path:    checkedURL(o, "path", given),
		query:   o.Pairs("query"),
		records: checkedPath(o, "records", "", false),
	}
	if strings.Contains(l.path, "{id}") {
		o.Report("path", "remove {id}", "a listing has no id")
	}
	if o.Has("body") {
		if l.method != http.MethodPost {
			o.Report("body", "add method: POST", "is sent only with method POST")
		}
		l.body = parseBody(o, "body")
	}
	if l.mentions("{time}") {
		o.Report("since", `since: {query: "updated_since={time}"}`, "must hold {time}: query and body are sent on first and full runs too")
	}
	l.page = parsePage(o, l)
	l.since = parseSince(o, l)
	if l.records == "" && (l.page.tokenAt != "" || l.page.nextAt != "" || l.page.totalAt != "") {
		o.Report("records", "records: items", "is needed beside token_at, next_at and total_at: the whole answer cannot be the records")
	}
	o.Done()
	return l
}

func parsePage(o settings.Object, l listSettings) pageSettings {
	if !o.Has("page") {
		return pageSettings{by: byNone}
	}
	p := o.Object("page")
	defer p.Done()
	if !p.Has("by") {
		p.Report("by", "one of page, offset, cursor, next_url, link, none", "is missing")
	}
	s := pageSettings{
		by:         paging(p.Choice("by", string(byNone), string(byOffset), string(byPage), string(byCursor), string(byNextURL), string(byLink), string(byNone))),
		param:      p.String("param", ""),
		sizeParam:  p.String("size_param", ""),
		size:       p.Int("size", 0, 1, 100_000),
		tokenAt:    checkedPath(p, "token_at", "", false),
		tokenParam: p.String("token_param", ""),
		nextAt:     checkedPath(p, "next_at", "", false),
		totalAt:    checkedPath(p, "total_at", "", false),
	}
	if s.sizeParam != "" && s.size == 0 {
		p.Report("size", "for example 200", "is needed with size_param")
	}
	s.check(p, l)
	return s
}

// check reports what the kind of paging needs and what it has no use for.
func (s *pageSettings) check(p settings.Object, l listSettings) {
	needed := map[paging][]string{
		byPage: {"param"}, byOffset: {"param"}, byCursor: {"token_at", "token_param"}, byNextURL: {"next_at"},
	}[s.by]
	if s.by == byCursor && s.tokenParam == "" && s.param != "" {
		s.tokenParam, s.param = s.param, ""
		needed = []string{"token_at"}
		p.Has("token_param")
	}
	given := map[string]string{"param": s.param, "token_at": s.tokenAt, "token_param": s.tokenParam, "next_at": s.nextAt}
	for _, key := range needed {
		templated := key != "token_at" && key != "next_at" && l.mentions(s.by.placeholder())
		if given[key] == "" && !templated {
			p.Report(key, "see the remote's documentation of its lists", "is needed for paging by %s", s.by)
		}
	}
	useful := needed
	if s.by == byCursor {
		useful = []string{"token_at", "token_param"}
	}
	for _, key := range []string{"param", "token_at", "token_param", "next_at"} {
		if given[key] != "" && !slices.Contains(useful, key) {
			p.Report(key, "remove it, or change by", "is not used for paging by %s", s.by)
		}
	}
}

// placeholder is what stands for the position in templates.
func (p paging) placeholder() string {
	switch p {
	case byPage:
		return "{page}"
	case byOffset:
		return "{offset}"
	case byCursor:
		return "{token}"
	case byNone, byNextURL, byLink:
	}
	return "{}"
}

// mentions reports whether the query or the body holds the placeholder.
func (l listSettings) mentions(placeholder string) bool {
	for _, q := range l.query {
		if strings.Contains(q.Value, placeholder) {
			return true
		}
	}
	return l.body != nil && l.body.mentions(placeholder)
}

func parseSince(o settings.Object, l listSettings) sinceSettings {
	var s sinceSettings
	if !o.Has("since") {
		return s
	}
	b := o.Object("since")
	defer b.Done()
	s.format = parseFormat(b)
	if b.Has("query") {
		q := b.String("query", "")
		name, template, ok := strings.Cut(q, "=")
		s.name, s.template = strings.TrimSpace(name), template
		switch {
		case !ok || s.name == "":
			b.Report("query", `query: "updated_since={time}"`, "must be NAME=TEMPLATE")
		case !strings.Contains(template, "{time}"):
			b.Report("query", `query: "updated_since={time}"`, "must hold {time}")
		}
	}
	if b.Has("body") {
		if l.method != http.MethodPost {
			b.Report("body", "add method: POST to list", "is sent only with method POST")
		}
		s.body = parseBody(b, "body")
		if s.body != nil && !s.body.mentions("{time}") {
			b.Report("body", "put {time} where the limit belongs", "must hold {time}")
		}
	}
	return s
}

func parseFormat(o settings.Object) timeFormat {
	f := timeFormat(o.String("format", ""))
	switch f {
	case "", "rfc3339", "unix", "unix_ms", "date":
		return f
	}
	// A layout must give back the day it was given.
	probe := time.Date(2034, time.November, 25, 13, 14, 15, 0, time.UTC)
	back, err := time.Parse(string(f), probe.Format(string(f)))
	if err != nil || back.Year() != 2034 || back.YearDay() != probe.YearDay() {
		o.Report("format", `rfc3339, unix, unix_ms, date or a Go layout such as "2006-01-02 15:04:05"`, "%q is not a time format", string(f))
		return ""
	}
	return f
}

// checkedPath reads a path into an answer.
func checkedPath(o settings.Object, key, def string, keyOK bool) string {
	p := o.String(key, def)
	if p == "" || keyOK && p == keyPath {
		return p
	}
	if _, err := parsePath(p); err != nil {
		o.Report(key, `for example "data.items" or "tags[0]"`, "%s", err)
		return def
	}
	return p
}

// checkedURL reads a path below base_url.
func checkedURL(o settings.Object, key string, needed bool) string {
	p := o.String(key, "")
	if p == "" {
		if needed {
			o.Report(key, "for example /api/contacts", "is missing")
		}
		return ""
	}
	if strings.Contains(p, "://") || strings.HasPrefix(p, "//") {
		o.Report(key, "write only what follows base_url", "must be a path, not a full address")
		return ""
	}
	if _, err := url.Parse(strings.NewReplacer("{", "", "}", "").Replace(p)); err != nil || strings.ContainsAny(p, "#\r\n ") {
		o.Report(key, "for example /api/contacts", "is not a valid path")
		return ""
	}
	return p
}

// bodyTemplate is a JSON body with placeholders.
type bodyTemplate struct {
	object map[string]json.RawMessage // a mapping; nil for text
	text   string                     // a text that becomes JSON once filled
}

func parseBody(o settings.Object, key string) *bodyTemplate {
	raw := bytes.TrimSpace(o.Raw(key))
	switch {
	case len(raw) == 0:
		return nil
	case raw[0] == '{':
		b := &bodyTemplate{}
		if err := json.Unmarshal(raw, &b.object); err == nil {
			return b
		}
	case raw[0] == '"':
		b := &bodyTemplate{}
		if err := json.Unmarshal(raw, &b.text); err == nil && json.Valid([]byte(b.probe())) {
			return b
		}
	}
	o.Report(key, `write a mapping, or JSON as text such as '{"limit": 100}'`, "is not JSON")
	return nil
}

func (b *bodyTemplate) mentions(placeholder string) bool {
	if strings.Contains(b.text, placeholder) {
		return true
	}
	for _, raw := range b.object {
		if bytes.Contains(raw, []byte(placeholder)) {
			return true
		}
	}
	return false
}

// probe fills a text template with something harmless.
func (b *bodyTemplate) probe() string {
	return strings.NewReplacer("{time}", "0", "{token}", "0", "{page}", "1", "{offset}", "0", "{size}", "1").Replace(b.text)
}
