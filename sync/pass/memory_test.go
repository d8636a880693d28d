package pass_test

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/sync/record"
)

// memory is a remote in memory: records in the order of their creation, read by
// pages of a fixed size.
type memory struct {
	mu       sync.Mutex
	recs     []memRecord
	page     int
	caps     channels.Capabilities
	noGet    bool
	fail     func(call int) error
	calls    int
	mute     bool                   // listings do not tell former ids
	tampered func(p *channels.Page) // changes pages on their way
	looked   func(ids []string)     // hears what is read by id
}

type memRecord struct {
	id      string
	vals    map[string]record.Value
	updated time.Time
	deleted bool
	former  []string // ids of records that were merged into it
}

func newMemory() *memory {
	return &memory{page: 3, caps: channels.Capabilities{Incremental: true, Enumerates: true}}
}

// put creates or changes a record.
func (m *memory) put(id string, kv ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.recs, func(r memRecord) bool { return r.id == id })
	if i < 0 {
		m.recs = append(m.recs, memRecord{id: id, vals: map[string]record.Value{}})
		i = len(m.recs) - 1
	}
	for k := 0; k+1 < len(kv); k += 2 {
		m.recs[i].vals[kv[k]] = record.T(kv[k+1])
	}
	m.recs[i].updated, m.recs[i].deleted = time.Now().UTC(), false
}

func (m *memory) set(id, field string, v record.Value) {
	m.put(id)
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.recs {
		if m.recs[i].id == id {
			m.recs[i].vals[field] = v
		}
	}
}

func (m *memory) remove(ids ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.recs {
		if slices.Contains(ids, m.recs[i].id) {
			m.recs[i].deleted, m.recs[i].updated = true, time.Now().UTC()
		}
	}
}

// merge makes the record loser a part of winner.
func (m *memory) merge(winner, loser string) {
	m.put(winner)
	m.mu.Lock()
	defer m.mu.Unlock()
	l := slices.IndexFunc(m.recs, func(r memRecord) bool { return r.id == loser })
	gone := append(slices.Clone(m.recs[l].former), loser)
	m.recs = slices.Delete(m.recs, l, l+1)
	w := slices.IndexFunc(m.recs, func(r memRecord) bool { return r.id == winner })
	m.recs[w].former = append(m.recs[w].former, gone...)
}

func (m *memory) Capabilities() channels.Capabilities { return m.caps }

func (m *memory) Reader(_ context.Context, req channels.ReadRequest) (channels.Reader, error) {
	rd := &memReader{m: m, req: req}
	if req.From != nil {
		n, err := strconv.Atoi(string(req.From))
		if err != nil {
			return nil, err
		}
		rd.at = n
	}
	return rd, nil
}

// getting is memory with reading by id.
type getting struct{ *memory }

func (g getting) Get(_ context.Context, fields, ids []string) ([]record.Record, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.looked != nil {
		g.looked(ids)
	}
	var out []record.Record
	for _, id := range ids {
		i := slices.IndexFunc(g.recs, func(r memRecord) bool { return r.id == id && !r.deleted })
		if i < 0 {
			gone := record.Record{ID: id, Deleted: true}
			if i := slices.IndexFunc(g.recs, func(r memRecord) bool { return slices.Contains(r.former, id) }); i >= 0 {
				gone.Renamed = &record.Renamed{To: g.recs[i].id}
			}
			out = append(out, gone)
			continue
		}
		out = append(out, g.recs[i].record(fields))
	}
	return out, nil
}

func (m *memory) connector() channels.Connector {
	if m.noGet {
		return m
	}
	return getting{m}
}

func (r memRecord) record(fields []string) record.Record {
	out := record.Record{ID: r.id, Modified: r.updated, Raw: json.RawMessage(`{"id":"` + r.id + `"}`)}
	for _, f := range fields {
		out.Values = append(out.Values, r.vals[f])
	}
	return out
}

type memReader struct {
	m   *memory
	req channels.ReadRequest
	at  int
}

func (rd *memReader) Close() error { return nil }

func (rd *memReader) ReadPage(context.Context) (channels.Page, error) {
	rd.m.mu.Lock()
	defer rd.m.mu.Unlock()
	rd.m.calls++
	if rd.m.fail != nil {
		if err := rd.m.fail(rd.m.calls); err != nil {
			return channels.Page{}, err
		}
	}
	var list []record.Record
	for _, r := range rd.m.recs {
		in := !r.updated.Before(rd.req.Since) && (rd.req.Until.IsZero() || r.updated.Before(rd.req.Until))
		switch {
		case in && !r.deleted:
			rec := r.record(rd.req.Fields)
			if len(r.former) > 0 && !rd.m.mute {
				rec.Renamed = &record.Renamed{From: r.former}
			}
			list = append(list, rec)
		case in && rd.m.caps.Tombstones:
			list = append(list, record.Record{ID: r.id, Deleted: true})
		}
	}
	if rd.at >= len(list) {
		return channels.Page{}, io.EOF
	}
	end := min(rd.at+rd.m.page, len(list))
	p := channels.Page{
		Records: list[rd.at:end], Total: int64(len(list)), Bytes: 100 * (end - rd.at),
		RemoteNow: time.Now().UTC().Truncate(time.Second), FetchStarted: time.Now(),
		Next: json.RawMessage(strconv.Itoa(end)),
	}
	rd.at = end
	if rd.m.tampered != nil {
		rd.m.tampered(&p)
	}
	return p, nil
}
