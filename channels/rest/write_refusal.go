package rest

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

// failed says what became of an order whose call failed.
func (w *writer) failed(ctx context.Context, p *writePlan, a *attempt, err error) end {
	if !a.sent.Reached() {
		return a.unsent(err)
	}
	res := a.result(channels.Unknown)
	res.Err = err
	if fault.Of(err) == fault.RateLimited || fault.CodeOf(err) == fault.CodeAuth {
		return end{Result: res, whole: err} // after an attempt whose answer was lost
	}
	if fault.AnswerOf(err) == "" {
		// Without an answer nobody knows. An answer that cannot be read is trouble
		// with this one record.
		e := end{Result: res, trouble: true}
		if code := fault.CodeOf(err); code != "page_too_large" && code != fault.CodeBadAnswer {
			e.whole = err
		}
		return e
	}
	switch s := a.status; {
	case s == http.StatusInternalServerError:
		return end{Result: res, trouble: true}
	case s > http.StatusInternalServerError || s == http.StatusRequestTimeout:
		return end{Result: res, whole: err, trouble: true}
	case s == http.StatusTooEarly:
		return a.unsent(err)
	case s == http.StatusMethodNotAllowed || s == http.StatusNotAcceptable || s == http.StatusUnsupportedMediaType:
		// It says something about the settings, not about the record.
		return a.unsent(fault.Wrap(fault.Permanent, fault.CodeConfig, "", err))
	}
	return w.refused(ctx, p, a, err)
}

// unsent ends an order that the remote has not looked at.
func (a *attempt) unsent(err error) end {
	res := a.result(channels.NotSent)
	res.Err = err
	return end{Result: res, whole: err}
}

// refused says what a refusal of this one record means.
func (w *writer) refused(ctx context.Context, p *writePlan, a *attempt, err error) end {
	res := a.result(channels.Refused)
	res.Err = err
	creates := a.order.Op == channels.OrderCreate
	switch s := a.status; {
	case (s == http.StatusNotFound || s == http.StatusGone) && a.order.Op == channels.OrderUpdate:
		res.Outcome, res.Err = channels.Gone, nil
	case (s == http.StatusNotFound || s == http.StatusGone) && a.order.Op == channels.OrderDelete:
		res.Outcome, res.Err = channels.Written, nil
	case s == http.StatusPreconditionFailed:
		res.Outcome = channels.Changed
	case creates && s == http.StatusConflict:
		return w.exists(ctx, p, a, err, true)
	case creates && notUnique(a.body):
		return w.exists(ctx, p, a, err, false)
	}
	return end{Result: res}
}

// exists looks for the record that a create has met. Where the remote did not
// say for certain that there is one (sure), it must be found.
func (w *writer) exists(ctx context.Context, p *writePlan, a *attempt, refusal error, sure bool) end {
	res := a.result(channels.Exists)
	id, err := w.named409(ctx, p, a)
	if id == "" && err == nil {
		id, err = w.lookUp(ctx, p, a.order)
	}
	switch {
	case err != nil:
		return a.unsent(err) // the create itself was refused: nothing was made
	case id == "" && !sure:
		res.Outcome, res.Err = channels.Refused, refusal
	case id == "" && w.write.idempotency != "":
		// It may also be a first try with the same key that is still under way.
		res.Outcome, res.Err = channels.Unknown, refusal
	}
	res.ID = id
	return end{Result: res}
}

// named409 gives the id that a refusal names, if there is such a record: an id
// in an error may be the error's own.
func (w *writer) named409(ctx context.Context, p *writePlan, a *attempt) (string, error) {
	if w.getPath == "" {
		return "", nil
	}
	for _, at := range []string{a.call.id, w.id, a.call.wrap + "." + w.id, w.getRecord + "." + w.id} {
		id := scalarAt(a.body, at)
		if id == "" || checkID(id) != nil {
			continue
		}
		recs, err := (&getter{connector: w.connector}).Get(ctx, p.fields, []string{id})
		if err != nil {
			return "", err
		}
		if len(recs) == 1 && recs[0].Err == nil && !recs[0].Deleted {
			return id, nil
		}
	}
	return "", nil
}

// lookUp finds the one record with the identity of an order by what find can
// look for.
func (w *writer) lookUp(ctx context.Context, p *writePlan, o channels.Order) (string, error) {
	f := newFinder(w.connector)
	for _, q := range f.write.find.queries {
		var by []int
		var identity []record.Value
		for _, field := range q.fields {
			i := slices.Index(p.fields, field)
			if i < 0 || i >= len(o.Values) || o.Values[i].Empty() {
				break
			}
			by, identity = append(by, i), append(identity, o.Values[i])
		}
		if len(by) != len(q.fields) {
			continue
		}
		found, err := f.Find(ctx, p.fields, by, [][]record.Value{identity})
		if err != nil {
			return "", err
		}
		if len(found[0]) == 1 {
			return found[0][0].ID, nil
		}
	}
	return "", nil
}

// fieldErrors are the reasons that many APIs give per field:
// {"message": "...", "data": {"email": {"code": "...", "message": "..."}}}.
type fieldErrors struct {
	Message string                     `json:"message"`
	Data    map[string]json.RawMessage `json:"data"`
}

type fieldError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func fieldErrorsOf(body []byte) (message string, fields map[string]fieldError) {
	var e fieldErrors
	if json.Unmarshal(body, &e) != nil {
		return "", nil
	}
	for name, raw := range e.Data {
		var f fieldError
		if json.Unmarshal(raw, &f) == nil && (f.Code != "" || f.Message != "") {
			if fields == nil {
				fields = map[string]fieldError{}
			}
			fields[name] = f
		}
	}
	return e.Message, fields
}

// notUnique reports whether a refusal names a field whose value another record
// has already, as PocketBase does.
func notUnique(body []byte) bool {
	_, fields := fieldErrorsOf(body)
	for _, f := range fields {
		if f.Code == "validation_not_unique" {
			return true
		}
	}
	return false
}

// explained gives the reasons per field in one line; "" where the answer is of
// another form.
func explained(body []byte) string {
	message, fields := fieldErrorsOf(body)
	if len(fields) == 0 {
		return ""
	}
	parts := make([]string, 0, len(fields)+1)
	if message != "" {
		parts = append(parts, message)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		text := fields[name].Message
		if text == "" {
			text = fields[name].Code
		}
		parts = append(parts, name+": "+text)
	}
	return strings.Join(parts, " ")
}
