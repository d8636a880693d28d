package hubspot

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
	"github.com/tandem-sync/tandem/transport"
)

// answered reads the answer to creates or updates, row by row.
func (j *job) answered(ctx context.Context, b batch, a *transport.Response) error {
	op := j.c.writeOp(b.verb)
	traces := tracesOf(a.Body)
	got, err := j.plan.decoder().decode(op, a)
	if err != nil {
		j.all(b, channels.Unknown, err)
		return err
	}
	open := make(map[int]channels.Order, len(b.orders))
	for i, o := range b.orders {
		open[i] = o
	}
	for k, rec := range got.records {
		i := j.placeOf(b, open, rec, trace(traces, k))
		o, ok := open[i]
		if !ok || rec.ID == "" {
			continue
		}
		delete(open, i)
		j.add(writtenResult(o, rec, a))
	}
	for _, e := range rowErrors(got.errors) {
		for _, i := range e.places(open) {
			o := open[i]
			delete(open, i)
			j.row(ctx, b, o, e, 0, nil)
		}
	}
	for i := range b.orders {
		if o, ok := open[i]; ok {
			j.add(channels.Result{
				N: o.N, Outcome: channels.Unknown, ID: o.ID,
				Err: fault.New(fault.Retryable, codeRow, op, "HubSpot's answer (%d) says nothing about this contact", a.Status),
			})
		}
	}
	return nil
}

func writtenResult(o channels.Order, rec record.Record, a *transport.Response) channels.Result {
	r := channels.Result{N: o.N, Outcome: channels.Written, ID: rec.ID, RemoteNow: a.RemoteNow}
	if rec.Err == nil && !rec.Deleted {
		rec.Raw = nil
		r.Record = &rec
	}
	return r
}

// tracesOf gives the trace ids of the results, in their order; "" where one has
// none.
func tracesOf(body []byte) []string {
	var in struct {
		Results []struct {
			Trace string `json:"objectWriteTraceId"`
		} `json:"results"`
	}
	if jsonv2.Unmarshal(body, &in, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) != nil {
		return nil
	}
	out := make([]string, len(in.Results))
	for i, r := range in.Results {
		out[i] = r.Trace
	}
	return out
}

func trace(list []string, k int) string {
	if k < len(list) {
		return list[k]
	}
	return ""
}

// placeOf gives the place of the order that a result belongs to: by its trace
// id, else by its id, else, for a create, by what it says of an e-mail address
// that only one order sent. -1 is none.
func (j *job) placeOf(b batch, open map[int]channels.Order, rec record.Record, trace string) int {
	if i, err := strconv.Atoi(trace); err == nil {
		return i
	}
	if len(b.orders) == 1 {
		return 0
	}
	email, place := j.email(rec.Values), -1
	for i, o := range open {
		switch {
		case !b.creates && o.ID == rec.ID:
			return i
		case b.creates && email != "" && email == j.email(o.Values):
			if place >= 0 {
				return -1
			}
			place = i
		}
	}
	return place
}

// email gives the e-mail address among values as HubSpot keeps it; "" none.
func (j *job) email(values []record.Value) string {
	if i := slices.Index(j.fields, emailProperty); i >= 0 && i < len(values) {
		return strings.ToLower(strings.TrimSpace(values[i].Text))
	}
	return ""
}

// rowErrors reads the errors of a multi-status answer; what cannot be read tells
// of no row.
func rowErrors(raw []byte) []rowError {
	var entries []json.RawMessage
	_ = json.Unmarshal(raw, &entries)
	var out []rowError
	for _, entry := range entries {
		var e rowError
		if json.Unmarshal(entry, &e) == nil {
			out = append(out, e)
		}
	}
	return out
}

// places gives the open orders that an error is about.
func (e rowError) places(open map[int]channels.Order) []int {
	var out []int
	for _, t := range e.Context["objectWriteTraceId"] {
		if i, err := strconv.Atoi(t); err == nil {
			out = append(out, i)
		}
	}
	if out == nil {
		ids := append(slices.Clone(e.Context["ids"]), e.Context["id"]...)
		for i, o := range open {
			if o.ID != "" && slices.Contains(ids, o.ID) {
				out = append(out, i)
			}
		}
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(i int) bool { _, ok := open[i]; return !ok })
}

// existing finds the id of the contact that has the value already.
var existing = regexp.MustCompile(`Existing ID: *(\d+)|(\d+) already has that value`)

// row ends one order by what HubSpot says of its row; status is that of a call
// for this row alone, with its error.
func (j *job) row(ctx context.Context, b batch, o channels.Order, e rowError, status int, err error) {
	c := j.c.client
	r := channels.Result{N: o.N, ID: o.ID, Outcome: channels.Refused, Err: err}
	if err == nil {
		r.Err = fault.New(fault.Permanent, codeRow, j.c.writeOp(b.verb), "HubSpot refuses the contact: %s: %s", c.short(e.Category), c.short(e.Message))
	}
	met := ""
	if m := existing.FindStringSubmatch(e.Message); m != nil {
		met = m[1] + m[2]
	}
	switch {
	case e.Category == "OBJECT_NOT_FOUND" && !b.creates:
		r.Outcome, r.Err = channels.Gone, nil
	case b.creates && (met != "" || e.Category == "CONFLICT" || status == http.StatusConflict):
		r.Outcome, r.Err, r.ID = channels.Exists, nil, met
		if met == "" {
			r.ID = j.met(ctx, o)
		}
	case rowClass(e.Category) == fault.Retryable:
		r.Outcome = passing(e.Category)
		r.Err = fault.Wrap(fault.Retryable, codeRow, "", r.Err)
	}
	j.add(r)
}

// passing says what is known of a row that failed for a reason that may pass.
func passing(category string) channels.Outcome {
	switch category {
	case "RATE_LIMITS", "RATE_LIMIT", "LOCKED":
		return channels.NotSent
	}
	return channels.Unknown
}

// met looks for the one contact that an order's e-mail address belongs to; ""
// when it cannot be told.
func (j *job) met(ctx context.Context, o channels.Order) string {
	i := slices.Index(j.fields, emailProperty)
	if i < 0 || i >= len(o.Values) {
		return ""
	}
	found, err := j.c.Find(ctx, j.fields, []int{i}, [][]record.Value{{o.Values[i]}})
	if err != nil || len(found[0]) != 1 {
		return ""
	}
	return found[0][0].ID
}
