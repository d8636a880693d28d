package hubspot

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/sync/record"
)

// rows reads contacts by id, in batches.
type rows struct {
	c    *connector
	plan *plan
}

// Get reads contacts by id, in the order of ids. One that is archived or unknown
// comes back Deleted, and so does one that was merged into another, whose id it
// tells; one whose row failed carries the reason.
func (c *connector) Get(ctx context.Context, fields, ids []string) ([]record.Record, error) {
	if err := checkFields("hubspot: get "+c.name, fields); err != nil {
		return nil, err
	}
	recs, _, err := (&rows{c: c, plan: newPlan(fields, c.history != historyNever)}).read(ctx, ids)
	return recs, err
}

func (w *rows) op() string { return "hubspot: get " + w.c.name }

type batchBody struct {
	Inputs     []batchInput `json:"inputs"`
	Properties []string     `json:"properties"`
	// History must be there even when it is empty.
	History []string `json:"propertiesWithHistory"`
}

type batchInput struct {
	ID string `json:"id"`
}

// read gives a record per id, in order, and the size of the answers.
func (w *rows) read(ctx context.Context, ids []string) ([]record.Record, int, error) {
	unique, at := distinct(ids)
	found := make([]record.Record, len(unique))
	size := batchSize
	if w.plan.withHistory() {
		size = historySize
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var bytes atomic.Int64
	var wg sync.WaitGroup
	work := make(chan int)
	for range min(w.c.client.http.Concurrency(), (len(unique)+size-1)/size) {
		wg.Go(func() {
			for from := range work {
				to := min(from+size, len(unique))
				n, err := w.batch(ctx, unique[from:to], found[from:to])
				bytes.Add(int64(n))
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	for from := 0; from < len(unique) && ctx.Err() == nil; from += size {
		work <- from
	}
	close(work)
	wg.Wait()
	if ctx.Err() != nil {
		return nil, 0, context.Cause(ctx)
	}
	out := make([]record.Record, len(ids))
	for i, k := range at {
		out[i] = found[k]
	}
	return out, int(bytes.Load()), nil
}

// distinct gives every id once, because HubSpot refuses a batch that repeats
// one, and where each of ids is among them.
func distinct(ids []string) (unique []string, at []int) {
	place := make(map[string]int, len(ids))
	at = make([]int, len(ids))
	for i, id := range ids {
		k, ok := place[id]
		if !ok {
			k = len(unique)
			place[id] = k
			unique = append(unique, id)
		}
		at[i] = k
	}
	return unique, at
}

// batch reads ids into out, both of one batch's length at most. Rows that failed
// for a passing reason are asked for once more.
func (w *rows) batch(ctx context.Context, ids []string, out []record.Record) (int, error) {
	open := make(map[string]int, len(ids))
	for i, id := range ids {
		out[i] = record.Record{ID: id}
		if !numeric(id) {
			// No contact can have it, and it would make HubSpot refuse the batch.
			out[i].Deleted = true
			continue
		}
		open[id] = i
	}
	total := 0
	for try := 0; len(open) > 0; try++ {
		n, silent, err := w.ask(ctx, open, out)
		total += n
		if err != nil {
			return total, err
		}
		for _, id := range silent {
			n, err := w.single(ctx, id, &out[open[id]])
			total += n
			if err != nil {
				return total, err
			}
			delete(open, id)
		}
		if try > 0 {
			break
		}
	}
	return total, nil
}

func numeric(id string) bool {
	return id != "" && len(id) <= 20 && !strings.ContainsFunc(id, func(r rune) bool { return r < '0' || r > '9' })
}

// ask makes one batch call for the open ids. It fills what came back and takes
// it off open; rows that may work another time stay open with their reason.
// silent are ids the answer says nothing about.
func (w *rows) ask(ctx context.Context, open map[string]int, out []record.Record) (n int, silent []string, err error) {
	b := batchBody{Properties: w.plan.names, History: []string{}}
	if w.plan.times {
		b.History = w.plan.mapped
	}
	for id := range open {
		b.Inputs = append(b.Inputs, batchInput{id})
	}
	slices.SortFunc(b.Inputs, func(x, y batchInput) int { return open[x.ID] - open[y.ID] })
	body, err := json.Marshal(b)
	if err != nil {
		return 0, nil, fault.Wrap(fault.Permanent, fault.CodeFailed, w.op(), err)
	}
	if err := yield.Point(ctx, "get.before_fetch"); err != nil {
		return 0, nil, err
	}
	a, err := w.c.client.do(ctx, ask(w.op(), contactsPath+"/batch/read", url.Values{"archived": {"false"}}, body))
	if err != nil {
		return 0, nil, err
	}
	got, err := w.plan.decoder().decode(w.op(), a)
	if err != nil {
		return 0, nil, err
	}
	told := make(map[string]bool, len(open))
	for _, r := range got.records {
		if i, ok := open[r.ID]; ok && r.ID != "" {
			out[i] = r
			delete(open, r.ID)
		}
	}
	w.failures(got.errors, open, out, told)
	for id := range open {
		if !told[id] {
			silent = append(silent, id)
		}
	}
	slices.Sort(silent)
	return len(a.Body), silent, nil
}

// rowError is one entry of a multi-status answer.
type rowError struct {
	Category string              `json:"category"`
	Message  string              `json:"message"`
	Context  map[string][]string `json:"context"`
}

// failures applies the errors of a multi-status answer to the rows they name.
func (w *rows) failures(raw []byte, open map[string]int, out []record.Record, told map[string]bool) {
	c := w.c.client
	var entries []json.RawMessage
	_ = json.Unmarshal(raw, &entries) // no errors, or none that can be read: the rows stay silent
	for _, entry := range entries {
		var e rowError
		if json.Unmarshal(entry, &e) != nil {
			continue
		}
		for _, id := range append(e.Context["ids"], e.Context["id"]...) {
			i, ok := open[id]
			if !ok {
				continue
			}
			told[id] = true
			if e.Category == "OBJECT_NOT_FOUND" {
				out[i] = record.Record{ID: id, Deleted: true}
				delete(open, id)
				continue
			}
			class := rowClass(e.Category)
			out[i] = record.Record{ID: id, Raw: entry, Err: fault.New(class, codeRow, w.op(), "HubSpot refuses contact %s: %s: %s",
				id, c.short(e.Category), c.short(e.Message))}
			if class == fault.Permanent {
				delete(open, id)
			}
		}
	}
}

// rowClass says whether a row may work another time.
func rowClass(category string) fault.Class {
	switch category {
	case "RATE_LIMITS", "RATE_LIMIT", "INTERNAL_ERROR", "SERVICE_UNAVAILABLE", "TIMEOUT", "LOCKED":
		return fault.Retryable
	}
	return fault.Permanent
}

// single reads one contact alone, which a batch kept silent about: the id of a
// contact that was merged into another answers with that one.
func (w *rows) single(ctx context.Context, id string, out *record.Record) (int, error) {
	query := url.Values{"archived": {"false"}}
	if !w.plan.long() {
		query.Set("properties", strings.Join(w.plan.names, ","))
		if w.plan.withHistory() {
			query.Set("propertiesWithHistory", strings.Join(w.plan.mapped, ","))
		}
	}
	a, err := w.c.client.do(ctx, get(w.op(), contactsPath+"/"+url.PathEscape(id), query))
	switch {
	case fault.CodeOf(err) == fault.CodeNotFound:
		*out = record.Record{ID: id, Deleted: true}
		return 0, nil
	case err != nil:
		return 0, err
	case a.Status != http.StatusOK:
		return 0, fault.New(fault.Retryable, fault.CodeBadAnswer, w.op(), "HubSpot answers %d", a.Status)
	}
	r, err := w.plan.decoder().one(w.op(), a)
	switch {
	case err != nil:
		return len(a.Body), err
	case r.Err == nil && r.ID != id:
		*out = record.Record{ID: id, Deleted: true, Renamed: &record.Renamed{To: r.ID}}
	case r.Err == nil && w.plan.long():
		*out = record.Record{ID: id, Err: fault.New(fault.Retryable, codeRow, w.op(), "HubSpot leaves contact %s out of its batch answers", id)}
	default:
		r.ID = id
		*out = r
	}
	return len(a.Body), nil
}
