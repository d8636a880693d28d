package hubspot

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/sync/record"
	"github.com/tandem-sync/tandem/transport"
)

const (
	// moreEmailsProperty has the addresses of contacts that were merged into one,
	// separated by semicolons: HubSpot finds it by them, too.
	moreEmailsProperty = "hs_additional_emails"
	// maxFilters and maxGroups are HubSpot's limits on one search.
	maxFilters = 6
	maxGroups  = 5
)

// FindsBy reports whether contacts can be looked for by the properties.
func (c *connector) FindsBy(fields []string) bool {
	return len(fields) > 0 && len(fields) <= maxFilters && checkFields("", fields) == nil
}

// Find looks for contacts: by e-mail address alone where that is the identity,
// which finds every contact at once; otherwise by search, which finds new ones
// only after a while. Texts are compared without regard to case and outer blanks.
func (c *connector) Find(ctx context.Context, fields []string, by []int, identities [][]record.Value) ([][]record.Record, error) {
	op := "hubspot: find " + c.name
	if err := checkFields(op, fields); err != nil {
		return nil, err
	}
	names := make([]string, len(by))
	for i, at := range by {
		if at < 0 || at >= len(fields) {
			return nil, fault.New(fault.Permanent, fault.CodeUsage, op, "field %d of %d", at, len(fields))
		}
		names[i] = fields[at]
	}
	if !c.FindsBy(names) {
		return nil, fault.New(fault.Permanent, fault.CodeUsage, op, "HubSpot searches for 1 to %d properties at a time, not %d", maxFilters, len(names))
	}
	f := &look{
		c: c, op: op, fields: fields, by: by, names: names, identities: identities, out: make([][]record.Record, len(identities)),
		plan: newPlan(append(slices.Clone(fields), moreEmailsProperty), false),
	}
	var open []int
	for i, x := range identities {
		if len(x) == len(by) && !slices.ContainsFunc(x, record.Value.Empty) {
			open = append(open, i)
		}
	}
	size, ask := maxGroups, f.search
	if len(names) == 1 && names[0] == emailProperty {
		size, ask = batchSize, f.byEmail
	}
	for part := range slices.Chunk(open, size) {
		if err := ask(ctx, part); err != nil {
			return nil, err
		}
	}
	return f.out, nil
}

// look is one Find under way.
type look struct {
	c          *connector
	op         string
	fields     []string
	by         []int
	names      []string
	identities [][]record.Value
	plan       *plan // of fields and the further e-mail addresses
	out        [][]record.Record
}

// keep gives rec to those identities among part that it has.
func (f *look) keep(part []int, rec record.Record) {
	if rec.Err != nil || rec.Deleted || len(rec.Values) != len(f.fields)+1 {
		return
	}
	more := rec.Values[len(f.fields)]
	rec.Values, rec.Raw = rec.Values[:len(f.fields):len(f.fields)], nil
	for _, i := range part {
		if f.has(rec, more, f.identities[i]) && !slices.ContainsFunc(f.out[i], func(x record.Record) bool { return x.ID == rec.ID }) {
			f.out[i] = append(f.out[i], rec)
		}
	}
}

func (f *look) has(rec record.Record, more record.Value, identity []record.Value) bool {
	for k, at := range f.by {
		want := folded(identity[k].Text)
		if folded(rec.Values[at].Text) == want {
			continue
		}
		if f.names[k] != emailProperty || !slices.Contains(strings.Split(folded(more.Text), ";"), want) {
			return false
		}
	}
	return true
}

func folded(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

// byEmail reads contacts by their addresses, which needs no search and lags by
// nothing. What an answer is silent about is read alone.
func (f *look) byEmail(ctx context.Context, part []int) error {
	open := map[string]bool{}
	var inputs []batchInput
	for _, i := range part {
		email := folded(f.identities[i][0].Text)
		if !open[email] {
			open[email] = true
			inputs = append(inputs, batchInput{email})
		}
	}
	body, err := json.Marshal(map[string]any{
		"inputs": inputs, "idProperty": emailProperty, "properties": f.plan.names, "propertiesWithHistory": []string{},
	})
	if err != nil {
		return fault.Wrap(fault.Permanent, fault.CodeFailed, f.op, err)
	}
	got, err := f.ask(ctx, ask(f.op, contactsPath+"/batch/read", url.Values{"archived": {"false"}}, body))
	if err != nil {
		return err
	}
	for _, rec := range got.records {
		f.keep(part, rec)
	}
	for _, e := range rowErrors(got.errors) {
		if e.Category != "OBJECT_NOT_FOUND" {
			// "Not found" would lead to a second contact.
			return fault.New(rowClass(e.Category), codeRow, f.op, "HubSpot cannot look for a contact: %s: %s", f.c.client.short(e.Category), f.c.client.short(e.Message))
		}
		for _, email := range append(e.Context["ids"], e.Context["id"]...) {
			delete(open, folded(email))
		}
	}
	for _, i := range part {
		email := folded(f.identities[i][0].Text)
		if len(f.out[i]) > 0 || !open[email] {
			continue
		}
		if err := f.single(ctx, part, email); err != nil {
			return err
		}
		delete(open, email)
	}
	return nil
}

// single reads one contact by its address.
func (f *look) single(ctx context.Context, part []int, email string) error {
	if err := yield.Point(ctx, "find.before_fetch"); err != nil {
		return err
	}
	a, err := f.c.client.do(ctx, get(f.op, contactsPath+"/"+url.PathEscape(email),
		url.Values{"archived": {"false"}, "idProperty": {emailProperty}, "properties": {strings.Join(f.plan.names, ",")}}))
	if fault.CodeOf(err) == fault.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	rec, err := f.plan.decoder().one(f.op, a)
	if err != nil {
		return err
	}
	f.keep(part, rec)
	return nil
}

// search looks for up to five identities by one search. Where they have too many
// matches for one answer each is searched for alone.
func (f *look) search(ctx context.Context, part []int) error {
	q := searchQuery{Sorts: []string{idProperty}, Properties: f.plan.names, Limit: searchSize, After: "0"}
	for _, i := range part {
		var g filterGroup
		for k, name := range f.names {
			g.Filters = append(g.Filters, filter{name, "EQ", strings.TrimSpace(f.identities[i][k].Text)})
		}
		q.FilterGroups = append(q.FilterGroups, g)
	}
	body, err := json.Marshal(q)
	if err != nil {
		return fault.Wrap(fault.Permanent, fault.CodeFailed, f.op, err)
	}
	r := ask(f.op, contactsPath+"/search", nil, body)
	r.Limit = f.c.client.searches
	got, err := f.ask(ctx, r)
	if err != nil {
		return err
	}
	if got.after != "" && len(part) > 1 {
		for _, i := range part {
			if err := f.search(ctx, []int{i}); err != nil {
				return err
			}
		}
		return nil
	}
	for _, rec := range got.records {
		f.keep(part, rec)
	}
	return nil
}

func (f *look) ask(ctx context.Context, r transport.Request) (*page, error) {
	if err := yield.Point(ctx, "find.before_fetch"); err != nil {
		return nil, err
	}
	a, err := f.c.client.do(ctx, r)
	if err != nil {
		return nil, err
	}
	return f.plan.decoder().decode(f.op, a)
}
