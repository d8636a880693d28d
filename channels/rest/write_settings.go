package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/transport/settings"
)

// DefaultSettle is how long a record that was just made may be missing from
// what the remote finds and lists, where create.settle does not say.
const DefaultSettle = 10 * time.Second

// writeCall is remote.create, remote.update or remote.remove.
type writeCall struct {
	method string
	path   string // "" the remote cannot be told this
	wrap   string
	id     string // where the answer has the id; "" where records have it
	// ifMatch is where the record's version is that the call is conditional on:
	// matchETag or a path in the record; "" it is not.
	ifMatch string
}

// matchETag has the version taken from the header ETag.
const matchETag = "etag"

func (w writeCall) given() bool { return w.path != "" }

// writeSettings is what a connector's remote says about writing.
type writeSettings struct {
	create, update, remove writeCall
	idempotency            string // header of a create's key; "" none
	settle                 time.Duration
	find                   findSettings
}

// parseWrites reads the keys for writing to the remote.
func parseWrites(o settings.Object, r remoteSettings) writeSettings {
	w := writeSettings{settle: DefaultSettle}
	if o.Has("create") {
		b := o.Object("create")
		w.create = parseWrite(b, http.MethodPost, false)
		w.create.wrap, w.create.id = b.String("wrap", ""), checkedPath(b, "id", "", false)
		w.idempotency = parseHeaderName(b, "idempotency")
		w.settle = b.Duration("settle", DefaultSettle, 0, time.Hour)
		b.Done()
	}
	if o.Has("update") {
		b := o.Object("update")
		w.update = parseWrite(b, http.MethodPatch, true)
		w.update.wrap, w.update.id = b.String("wrap", ""), checkedPath(b, "id", "", false)
		w.update.ifMatch = parseIfMatch(b, r)
		b.Done()
	}
	if o.Has("remove") {
		b := o.Object("remove")
		w.remove = parseWrite(b, http.MethodDelete, true)
		w.remove.ifMatch = parseIfMatch(b, r)
		if u := w.update.ifMatch; u != "" && w.remove.ifMatch != "" && w.remove.ifMatch != u {
			b.Report("if_match", "if_match: "+u, "must be that of update")
		}
		b.Done()
	}
	if (w.update.given() || w.remove.given()) && r.id == keyPath {
		o.Report("id", "name the member that holds the id", "records found by %s can only be read", keyPath)
	}
	w.find = parseFind(o, r)
	return w
}

// parseIfMatch reads where the version of a record is that a call is conditional
// on.
func parseIfMatch(b settings.Object, r remoteSettings) string {
	at := checkedPath(b, "if_match", "", false)
	if at != "" && r.getPath == "" {
		b.Report("if_match", "add get: {path: \"/contacts/{id}\"} to remote", "needs get: the version is told by a read of the record")
	}
	return at
}

// versionAt is where the version of a record is; "" where nothing asks for it.
func (w writeSettings) versionAt() string {
	if w.update.ifMatch != "" {
		return w.update.ifMatch
	}
	return w.remove.ifMatch
}

func parseWrite(b settings.Object, method string, id bool) writeCall {
	methods := []string{http.MethodPost, http.MethodPut, http.MethodPatch}
	if method == http.MethodDelete {
		methods = append(methods, http.MethodDelete)
	}
	w := writeCall{method: b.Choice("method", method, methods...), path: checkedURL(b, "path", true)}
	switch has := strings.Contains(w.path, "{id}"); {
	case w.path == "":
	case id && !has:
		b.Report("path", `for example "/contacts/{id}"`, "must hold {id}")
	case !id && has:
		b.Report("path", "remove {id}", "a new record has no id yet")
	}
	return w
}

var headerName = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// parseHeaderName reads the name of a header of our own; those that the client
// or the protocol sets are refused.
func parseHeaderName(o settings.Object, key string) string {
	name := o.String(key, "")
	switch strings.ToLower(name) {
	case "":
		return ""
	case "authorization", "host", "content-type", "content-length", "transfer-encoding", "connection", "cookie", "accept", "user-agent":
		o.Report(key, "for example Idempotency-Key", "the header %s has another use", name)
		return ""
	}
	if !headerName.MatchString(name) {
		o.Report(key, "for example Idempotency-Key", "is not the name of a header")
		return ""
	}
	return name
}

// check holds what is to be written against what the settings make possible.
// path is the connector's.
func (w writeSettings) check(path string, want *channels.ConnectorWrites) []settings.Problem {
	if want == nil {
		return nil
	}
	var out []settings.Problem
	for _, x := range []struct {
		wanted      bool
		call        writeCall
		key, what   string
		example, or string
	}{
		{want.Create, w.create, "create", "creates records", "{method: POST, path: /contacts}", "set create: to_local or none"},
		{want.Update, w.update, "update", "changes records", `{method: PATCH, path: "/contacts/{id}"}`, "set direction: to_local"},
		{want.Delete, w.remove, "remove", "deletes records", `{method: DELETE, path: "/contacts/{id}"}`, "set delete: {remote: unlink} or {remote: ignore}"},
	} {
		if x.wanted && !x.call.given() {
			out = append(out, settings.Problem{
				Field: path + ".remote", Message: fmt.Sprintf("%s is missing, but the connector %s at the remote", x.key, x.what),
				Fix: "add " + x.key + ": " + x.example + ", or " + x.or,
			})
		}
	}
	if _, err := targets(want.Fields); err != nil {
		out = append(out, settings.Problem{
			Field: path + ".mapping", Message: err.Error(),
			Fix: "write to a member of an object, such as address.city, or set direction: to_local for the field",
		})
	}
	return out
}

// findSettings is remote.find.
type findSettings struct {
	path    string
	records string
	queries []findQuery
	double  bool // a quote in a quoted value is doubled, not escaped by a backslash
}

func (f findSettings) given() bool { return len(f.queries) > 0 }

// findQuery is one NAME=TEMPLATE that a look-up is asked with.
type findQuery struct {
	name, template string
	fields         []string // the remote fields it mentions
}

// findField finds {field}; other braces are left alone, as filters are full of
// them.
var findField = regexp.MustCompile(`\{([A-Za-z_][^{}"'\s]*)\}`)

func parseFind(o settings.Object, r remoteSettings) findSettings {
	var f findSettings
	if !o.Has("find") {
		return f
	}
	b := o.Object("find")
	defer b.Done()
	f.path, f.records = checkedURL(b, "path", false), r.list.records
	switch {
	case f.path == "" && r.list.method != http.MethodGet:
		b.Report("path", "path: /contacts/search", "is needed beside a listing by %s: find asks by GET", r.list.method)
	case f.path == "":
		f.path = r.list.path
	}
	if b.Has("records") {
		f.records = checkedPath(b, "records", "", false)
	}
	f.double = b.Choice("escape", "backslash", "backslash", "double") == "double"
	if !b.Has("query") {
		b.Report("query", `query: "email={email}"`, "is missing")
		return f
	}
	for _, text := range texts(b, "query") {
		if q, ok := parseFindQuery(b, text); ok {
			f.queries = append(f.queries, q)
		}
	}
	return f
}

// texts reads a text or a list of texts.
func texts(o settings.Object, key string) []string {
	var list []string
	if err := json.Unmarshal(o.Raw(key), &list); err == nil {
		return list
	}
	return []string{o.String(key, "")}
}

func parseFindQuery(o settings.Object, text string) (findQuery, bool) {
	const example = `query: "filter=(email='{email}')", with the remote's name of the field in braces`
	name, template, ok := strings.Cut(text, "=")
	q := findQuery{name: strings.TrimSpace(name), template: template}
	if !ok || q.name == "" {
		o.Report("query", example, "must be NAME=TEMPLATE")
		return q, false
	}
	for _, m := range findField.FindAllStringSubmatch(template, -1) {
		if _, err := parsePath(m[1]); err != nil {
			o.Report("query", example, "{%s}: %s", m[1], err)
			return q, false
		}
		q.fields = append(q.fields, m[1])
	}
	if len(q.fields) == 0 {
		o.Report("query", example, "must hold a field in braces")
		return q, false
	}
	return q, true
}
