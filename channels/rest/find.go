package rest

import (
	"context"
	"errors"
	"io"
	"math/big"
	"slices"
	"strings"
	"sync"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
	"github.com/tandem-sync/tandem/transport/settings"
)

// maxFindPages is how far an answer to a look-up is followed. One that goes on
// longer is no answer to the question.
const maxFindPages = 3

// findParam is the parameter that carries a look-up's filled template into the
// listing's query, where nothing in it is read as a placeholder again.
const findParam = "tandem-find"

// finder is a connector that can look records up. It asks as a listing does,
// with a query of its own.
type finder struct {
	*connector
	asks []*connector // per query of the settings
}

func newFinder(c *connector) *finder {
	f := &finder{connector: c}
	for _, q := range c.write.find.queries {
		p := *c.parsedConnector
		p.list.method, p.list.body, p.list.since = "GET", nil, sinceSettings{format: p.list.since.format}
		p.list.path, p.list.records = p.write.find.path, p.write.find.records
		p.deletedPath, p.deletedRecords = "", ""
		p.list.query = slices.DeleteFunc(slices.Clone(p.list.query), func(x settings.Pair) bool {
			return x.Name == q.name || strings.Contains(x.Value, "{param.")
		})
		p.list.query = append(p.list.query, settings.Pair{Name: q.name, Value: "{param." + findParam + "}"})
		f.asks = append(f.asks, newConnector(c.http, &p))
	}
	return f
}

// query gives the first query of the settings that asks for nothing but fields.
func (f *finder) query(fields []string) int {
	return slices.IndexFunc(f.write.find.queries, func(q findQuery) bool {
		return !slices.ContainsFunc(q.fields, func(name string) bool { return !slices.Contains(fields, name) })
	})
}

// FindsBy reports whether a query of the settings asks for the fields.
func (f *finder) FindsBy(fields []string) bool { return f.query(fields) >= 0 }

// Find looks for the identities, one call each, transport.concurrency at a time.
// Of what the remote gives only records count whose fields are equal, without
// regard to case and outer blanks: a remote may look wider, or not know the
// query at all.
func (f *finder) Find(ctx context.Context, fields []string, by []int, identities [][]record.Value) ([][]record.Record, error) {
	op := "rest: find " + f.name
	names := make([]string, len(by))
	for i, at := range by {
		if at < 0 || at >= len(fields) {
			return nil, fault.New(fault.Permanent, fault.CodeUsage, op, "field %d of %d", at, len(fields))
		}
		names[i] = fields[at]
	}
	q := f.query(names)
	if q < 0 {
		return nil, fault.New(fault.Permanent, fault.CodeUsage, op, "the settings cannot look for %s", strings.Join(names, ", ")).
			WithHint("add a query for it to the connector's remote.find")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := make([][]record.Record, len(identities))
	work := make(chan int)
	var wg sync.WaitGroup
	for range min(f.http.Concurrency(), len(identities)) {
		wg.Go(func() {
			for i := range work {
				var err error
				if out[i], err = f.one(ctx, q, fields, by, identities[i]); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range identities {
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

// one gives the matches of one identity.
func (f *finder) one(ctx context.Context, q int, fields []string, by []int, identity []record.Value) ([]record.Record, error) {
	if len(identity) != len(by) || slices.ContainsFunc(identity, record.Value.Empty) {
		return nil, nil
	}
	values := make(map[string]string, len(by))
	for i, at := range by {
		values[fields[at]] = identity[i].Text
	}
	r, err := f.asks[q].Reader(ctx, channels.ReadRequest{
		Fields: fields, Params: map[string]string{findParam: f.write.find.queries[q].fill(values, f.write.find.double)},
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	var out []record.Record
	for n := 0; ; n++ {
		page, err := r.ReadPage(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, err
		case n >= maxFindPages && len(page.Records) > 0:
			return nil, fault.New(fault.Permanent, fault.CodeConfig, "rest: find "+f.name, "the answer goes on after %d pages", maxFindPages).
				WithHint("does the remote know the query in remote.find?")
		}
		for _, rec := range page.Records {
			if rec.Err == nil && !rec.Deleted && matches(rec, by, identity) {
				rec.Raw = nil
				out = append(out, rec)
			}
		}
	}
}

// fill puts values into the template. Inside of quotes those that would end them
// are made harmless.
func (q findQuery) fill(values map[string]string, double bool) string {
	var out strings.Builder
	last := 0
	for _, at := range findField.FindAllStringSubmatchIndex(q.template, -1) {
		out.WriteString(q.template[last:at[0]])
		text := values[q.template[at[2]:at[3]]]
		if quote, ok := quoted(q.template, at[0], at[1]); ok {
			text = harmless(text, quote, double)
		}
		out.WriteString(text)
		last = at[1]
	}
	out.WriteString(q.template[last:])
	return out.String()
}

// quoted reports whether template[from:to] stands in quotes, and in which.
func quoted(template string, from, to int) (string, bool) {
	if from == 0 || to == len(template) || template[from-1] != template[to] {
		return "", false
	}
	c := template[to]
	return string(c), c == '\'' || c == '"'
}

func harmless(text, quote string, double bool) string {
	if double {
		return strings.ReplaceAll(text, quote, quote+quote)
	}
	return strings.NewReplacer(`\`, `\\`, quote, `\`+quote).Replace(text)
}

// matches reports whether the record has the identity.
func matches(rec record.Record, by []int, identity []record.Value) bool {
	for i, at := range by {
		if at >= len(rec.Values) || !sameValue(rec.Values[at], identity[i]) {
			return false
		}
	}
	return true
}

func sameValue(a, b record.Value) bool {
	if !a.Has() || strings.EqualFold(strings.TrimSpace(a.Text), strings.TrimSpace(b.Text)) {
		return a.Has() && a.Kind != record.Null
	}
	if a.Kind != record.Number && b.Kind != record.Number || len(a.Text)+len(b.Text) > 64 || strings.ContainsAny(a.Text+b.Text, "eE") {
		return false
	}
	x, okX := new(big.Rat).SetString(a.Text)
	y, okY := new(big.Rat).SetString(b.Text)
	return okX && okY && x.Cmp(y) == 0
}
