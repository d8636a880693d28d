package rest

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
	"github.com/tandem-sync/tandem/transport"
)

// codeStalled says that a listing does not move on.
const codeStalled = "cursor_stalled"

// request makes the call for the page at the reader's position.
func (r *reader) request() (transport.Request, error) {
	l, p := r.c.list, r.c.list.page
	call := transport.Request{Op: r.op(), Method: l.method, Safe: true}
	f := fill{token: r.pos.Token, page: r.pos.Page, offset: r.pos.Read, size: p.size, params: r.req.Params}
	filtered := l.since.given() && !r.req.Since.IsZero()
	if filtered {
		f.time = l.since.format.format(r.req.Since)
	}
	follows := (p.by == byNextURL || p.by == byLink) && r.pos.Token != ""
	query, extra, err := r.query(f, filtered)
	if err != nil {
		return call, err
	}
	if call.Path, err = f.text(r.path(), url.PathEscape); err != nil {
		return call, err
	}
	if follows {
		// The next address carries the whole query itself.
		query = nil
		if call.URL, err = r.c.http.Resolve(r.pos.Token); err != nil {
			return call, err
		}
	}
	call.Query = query
	if l.method == http.MethodPost {
		var since *bodyTemplate
		if filtered {
			since = l.since.body
		}
		call.Body, err = fillBody(l.body, since, f, extra)
	}
	return call, err
}

func (r *reader) path() string {
	if r.pos.Stage == stageGone {
		return r.c.deletedPath
	}
	return r.c.list.path
}

// query gives the query's keys and, for a listing by POST whose body is a
// mapping, the paging parameters that go into the body instead.
func (r *reader) query(f fill, filtered bool) (url.Values, map[string]any, error) {
	l, p := r.c.list, r.c.list.page
	q := url.Values{}
	for _, pair := range l.query {
		v, err := f.text(pair.Value, plain)
		if err != nil {
			return nil, nil, err
		}
		q.Add(pair.Name, v)
	}
	if filtered && l.since.name != "" {
		v, err := f.text(l.since.template, plain)
		if err != nil {
			return nil, nil, err
		}
		q.Set(l.since.name, v)
	}
	extra := map[string]any{}
	inBody := l.method == http.MethodPost && (l.body == nil || l.body.object != nil)
	put := func(name string, v any, text string) {
		if inBody {
			extra[name] = v
		} else {
			q.Set(name, text)
		}
	}
	if p.sizeParam != "" && !l.mentions("{size}") {
		put(p.sizeParam, p.size, strconv.Itoa(p.size))
	}
	if l.mentions(p.by.placeholder()) {
		return q, extra, nil
	}
	switch p.by {
	case byPage:
		put(p.param, r.pos.Page, strconv.FormatInt(r.pos.Page, 10))
	case byOffset:
		put(p.param, r.pos.Read, strconv.FormatInt(r.pos.Read, 10))
	case byCursor:
		if r.pos.Token != "" {
			put(p.tokenParam, r.pos.Token, r.pos.Token)
		}
	case byNone, byNextURL, byLink:
	}
	return q, extra, nil
}

// advance gives the position after the page got. A listing that does not move
// on is an error, never an endless loop.
func (r *reader) advance(got *answer, resp *transport.Response) (position, error) {
	n := int64(len(got.records))
	if n == 0 {
		return r.nextStage(), nil
	}
	next := r.pos
	next.Read += n
	if got.content == r.pos.Last && r.pos.Last != 0 {
		return next, r.stalled("the same page came twice in a row")
	}
	next.Last = got.content
	more, err := r.follow(&next, got, resp)
	switch {
	case err != nil:
		return next, err
	case !more:
		return r.nextStage(), nil
	}
	if t := total(got.total); t > 0 && next.Read >= t {
		return r.nextStage(), nil
	}
	key := xxhash.Sum64String(next.Token)
	if next.By.numbered() {
		key = got.idsHash
		if n == 1 {
			key = got.content
		}
	}
	if next.cycles(key) {
		return next, r.stalled("the listing goes in circles")
	}
	return next, nil
}

// follow finds what the next page is asked with; false means there is none.
func (r *reader) follow(next *position, got *answer, resp *transport.Response) (bool, error) {
	switch next.By {
	case byPage:
		next.Page++
		return true, nil
	case byOffset:
		return true, nil
	case byCursor:
		return r.followToken(next, got.token)
	case byNextURL:
		if done, err := r.ended(got.token, r.c.list.page.nextAt); done || err != nil {
			return false, err
		}
		return r.followURL(next, got.token.Text, resp)
	case byLink:
		target := nextLink(resp.Header)
		if target == "" {
			return false, nil
		}
		return r.followURL(next, target, resp)
	case byNone:
	}
	return false, nil
}

func (r *reader) followToken(next *position, token record.Value) (bool, error) {
	done, err := r.ended(token, r.c.list.page.tokenAt)
	switch {
	case done || err != nil:
		return false, err
	case token.Text == r.pos.Token:
		return false, r.stalled("the same token came twice in a row")
	}
	next.Token = token.Text
	return true, nil
}

// ended reports whether the token or address of the next page says that there
// is none: missing, null, empty or false.
func (r *reader) ended(token record.Value, at string) (bool, error) {
	switch {
	case token.Empty() || token.Kind == record.Bool && token.Text == "false":
		return true, nil
	case token.Kind == record.JSON || token.Kind == record.Bool:
		return false, fault.New(fault.Permanent, fault.CodeBadAnswer, r.op(), "what the answer has at %q for the next page is %s", at, kindName(token)).
			WithHint("check list.page")
	}
	return false, nil
}

// followURL keeps path and query of the next address: it may only lead to the
// same origin, and the credential in it must not be stored.
func (r *reader) followURL(next *position, target string, resp *transport.Response) (bool, error) {
	u, err := resp.URL.Parse(target)
	if err != nil {
		return false, fault.New(fault.Permanent, fault.CodeBadAnswer, r.op(), "the next page's address is not valid")
	}
	if err := r.c.http.CheckOrigin(r.op(), u); err != nil {
		return false, err
	}
	token := r.c.http.WithoutCredential(u).RequestURI()
	if token == r.pos.Token || token == r.c.http.WithoutCredential(resp.URL).RequestURI() {
		return false, r.stalled("the next page's address is the page's own")
	}
	next.Token = token
	return true, nil
}

func (r *reader) stalled(what string) error {
	return fault.New(fault.Permanent, codeStalled, r.op(), "%s", what).
		WithHint("does the remote know the paging parameters in list.page?")
}

// nextStage is where a listing goes when its list has ended.
func (r *reader) nextStage() position {
	if r.pos.Stage == stageList && r.gone != nil {
		return start(r.pos.By, stageGone)
	}
	return position{By: r.pos.By, Stage: stageEnd}
}

// total reads the number of records; -1 is unknown.
func total(v record.Value) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(v.Text), 10, 64)
	if err != nil || n < 0 || v.Kind != record.Number && v.Kind != record.Text {
		return -1
	}
	return n
}

// nextLink finds the target of rel="next" in Link headers (RFC 8288).
func nextLink(h http.Header) string {
	for _, line := range h.Values("Link") {
		for line != "" {
			open := strings.IndexByte(line, '<')
			if open < 0 {
				break
			}
			target, params, ok := strings.Cut(line[open+1:], ">")
			if !ok {
				break
			}
			var attributes string
			attributes, line = cutLink(params)
			if relNext(attributes) {
				return strings.TrimSpace(target)
			}
		}
	}
	return ""
}

// cutLink splits at the comma that ends a link's parameters.
func cutLink(s string) (attributes, rest string) {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

func relNext(attributes string) bool {
	for a := range strings.SplitSeq(attributes, ";") {
		name, v, _ := strings.Cut(a, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "rel") {
			continue
		}
		for rel := range strings.FieldsSeq(strings.Trim(strings.TrimSpace(v), `"'`)) {
			if strings.EqualFold(rel, "next") {
				return true
			}
		}
	}
	return false
}
