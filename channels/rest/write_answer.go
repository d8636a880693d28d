package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
	"github.com/tandem-sync/tandem/transport"
)

// created reads the answer to a create. Only an answer that tells the new id
// says that there is a record.
func (w *writer) created(p *writePlan, a *attempt, resp *transport.Response) end {
	res := a.result(channels.Written)
	res.RemoteNow = resp.RemoteNow
	rec := told(p.created, resp.Body, "")
	switch {
	case a.call.id != "":
		res.ID = scalarAt(resp.Body, a.call.id)
	case rec != nil:
		res.ID = rec.ID
	default:
		res.ID = scalarAt(resp.Body, w.id)
	}
	if res.ID == "" {
		res.ID = w.located(resp)
	}
	if res.ID == "" || checkID(res.ID) != nil || len(res.ID) > maxID {
		res.Outcome, res.ID = channels.Unknown, ""
		res.Err = fault.New(fault.Permanent, fault.CodeBadAnswer, w.writeOp("create"), "the answer (%d) does not tell the id of the new record", resp.Status).
			WithHint("check create.id; the answer has: " + answerKeys(resp.Body))
		return end{Result: res}
	}
	if rec != nil && rec.ID == res.ID && says(rec) {
		res.Record = rec
	}
	return end{Result: res}
}

// changed reads the answer to an update or a delete, which may be empty.
func (w *writer) changed(p *writePlan, a *attempt, resp *transport.Response) end {
	res := a.result(channels.Written)
	res.RemoteNow = resp.RemoteNow
	if markup(resp) {
		// A login page or a proxy answers 200, too.
		res.Outcome, res.Err = channels.Unknown, badAnswer(w.writeOp(a.order.Op.String()), resp, nil)
		return end{Result: res, whole: res.Err}
	}
	if a.order.Op == channels.OrderDelete {
		return end{Result: res}
	}
	rec := told(p.updated, resp.Body, a.order.ID)
	if id := scalarAt(resp.Body, a.call.id); id != "" && rec != nil && rec.ID != id {
		rec = nil
	}
	// Another id is believed only beside what was sent: the id of a job or of a
	// message is none of a record.
	if rec != nil && (rec.ID == a.order.ID || holds(rec, a.order)) {
		res.ID = rec.ID
		if says(rec) {
			res.Record = rec
		}
	}
	return end{Result: res}
}

// told finds the record in an answer; nil when there is none that can be used.
// Where it stands at several places, the one with the wanted id wins.
func told(places []*plan, body []byte, want string) *record.Record {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	var found *record.Record
	for _, p := range places {
		got, err := p.decoder().decode(body)
		if err != nil {
			return nil
		}
		if !got.found || len(got.records) != 1 {
			continue
		}
		rec := got.records[0]
		rec.Raw = nil
		if rec.Err != nil || rec.ID == "" || rec.Deleted {
			continue
		}
		if rec.ID == want || want == "" {
			return &rec
		}
		if found == nil {
			found = &rec
		}
	}
	return found
}

// says reports whether the answer told any field.
func says(rec *record.Record) bool {
	for _, v := range rec.Values {
		if v.Has() {
			return true
		}
	}
	return false
}

// holds reports whether the answer told a field that was sent.
func holds(rec *record.Record, o channels.Order) bool {
	for i, v := range rec.Values {
		if v.Has() && i < len(o.Values) && o.Values[i].Has() {
			return true
		}
	}
	return false
}

// scalarAt gives the text or number at path, or "".
func scalarAt(body []byte, path string) string {
	if path == "" || path == keyPath {
		return ""
	}
	return scalarIn(body, "", path)
}

// scalarIn gives the text or number at path in what is at record, or "".
func scalarIn(body []byte, record, path string) string {
	raw := body
	for _, p := range []string{record, path} {
		if p == "" {
			continue
		}
		segs, err := parsePath(p)
		if err != nil {
			return ""
		}
		var ok bool
		if raw, ok = dig(raw, segs); !ok {
			return ""
		}
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String()
	}
	return ""
}

// located gives the id out of the Location of an answer, where it is an address
// of a record.
func (w *writer) located(resp *transport.Response) string {
	u, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || u.Path == "" {
		return ""
	}
	for _, path := range []string{w.getPath, w.write.update.path, w.write.remove.path} {
		before, after, ok := strings.Cut(path, "{id}")
		if !ok || strings.ContainsRune(before, '?') {
			continue
		}
		after, _, _ = strings.Cut(after, "?")
		// What stands before is base_url's own path at most.
		_, id, ok := strings.Cut(u.EscapedPath(), before)
		if id, found := strings.CutSuffix(id, after); ok && found && !strings.ContainsRune(id, '/') {
			if id, err := url.PathUnescape(id); err == nil {
				return id
			}
		}
	}
	return ""
}

// markup reports whether an answer is a page for a person.
func markup(resp *transport.Response) bool {
	head := bytes.TrimSpace(resp.Body[:min(len(resp.Body), 64)])
	return bytes.HasPrefix(head, []byte("<")) || len(head) > 0 && strings.Contains(resp.Header.Get("Content-Type"), "html")
}

// answerKeys says what an answer has, for a hint.
func answerKeys(body []byte) string {
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return "nothing"
	case !json.Valid(body):
		return "no JSON"
	}
	return keysOf(body)
}

// attempt is an order's call and what is known of it.
type attempt struct {
	order  channels.Order
	call   writeCall
	sent   transport.Sent
	status int    // of the last refusal
	body   []byte // its beginning
}

func (a *attempt) result(o channels.Outcome) channels.Result {
	return channels.Result{N: a.order.N, Outcome: o, ID: a.order.ID}
}

// classify notes a refusal; what it means is the transport's own rule.
func (a *attempt) classify(status int, _ http.Header, body []byte) *fault.Error {
	a.status, a.body = status, bytes.Clone(body)
	if text := explained(body); text != "" && status < http.StatusInternalServerError {
		return fault.New(fault.Unknown, "", "", "%s", text)
	}
	return nil
}
