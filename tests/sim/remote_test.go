package sim

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/sync/record"
)

// contact is a record of the simulated remote.
type contact struct {
	id, email, name, phone string
	updated                time.Time
	deleted                bool
}

// remote is the simulated application: a list of contacts with a clock of its
// own, that pages either by offset (drifting while people edit) or by a stable
// cursor, and that fails now and then.
type remote struct {
	mu     sync.Mutex
	rng    *rand.Rand
	all    map[string]*contact
	nextID int
	skew   time.Duration
	offset bool // pages by offset
	tomb   bool // reports tombstones
	page   int
	faulty bool
	hidden string // id of a record that complete listings leave out
	since  time.Time
	wait   time.Duration // a page takes so long
	calls  int
}

func newRemote(seed uint64) *remote {
	rng := rand.New(rand.NewPCG(seed, 5))
	return &remote{
		rng: rng, all: map[string]*contact{}, page: 3 + rng.IntN(5), faulty: true, wait: 5 * time.Millisecond,
		offset: rng.IntN(2) == 0, tomb: rng.IntN(2) == 0, skew: time.Duration(rng.IntN(1200)-600) * time.Second,
	}
}

func (r *remote) now() time.Time { return time.Now().Add(r.skew).UTC().Truncate(time.Millisecond) }

func (r *remote) slow(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wait = d
}

func (r *remote) takes() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wait
}

// create, edit and remove are what the remote's own users do.
func (r *remote) create() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nextID++
	id := "r" + strconv.Itoa(r.nextID)
	r.all[id] = &contact{
		id: id, email: fmt.Sprintf("c%d@example.org", r.nextID), name: "n0", phone: "p0", updated: r.now(),
	}
	return id
}

func (r *remote) edit(rng *rand.Rand, token int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.pick(rng); c != nil {
		if rng.IntN(2) == 0 {
			c.name = fmt.Sprint("n", token)
		} else {
			c.phone = fmt.Sprint("p", token)
		}
		c.updated = r.now()
	}
}

func (r *remote) remove(rng *rand.Rand) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.pick(rng); c != nil {
		c.deleted, c.updated = true, r.now()
	}
}

// hide lets complete listings leave one of the known records out, as an index
// that lags or a lost permission does. Once it is edited it shows again.
func (r *remote) hide(rng *rand.Rand, known map[string]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hidden = ""
	if c := r.pick(rng); c != nil && rng.IntN(2) == 0 {
		if _, ok := known[c.id+"name"]; ok {
			r.hidden, r.since = c.id, r.now()
		}
	}
}

func (r *remote) hides(c *contact, req channels.ReadRequest) bool {
	return c.id == r.hidden && req.Since.IsZero() && !c.updated.After(r.since)
}

func (r *remote) pick(rng *rand.Rand) *contact {
	live := r.live()
	if len(live) == 0 {
		return nil
	}
	return live[rng.IntN(len(live))]
}

// live lists what exists, in the order of ids.
func (r *remote) live() []*contact {
	var out []*contact
	for _, c := range r.all {
		if !c.deleted {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *contact) int { return cmp.Or(cmp.Compare(len(a.id), len(b.id)), cmp.Compare(a.id, b.id)) })
	return out
}

// trouble is the failure of a call, or nil.
func (r *remote) trouble() error {
	r.calls++
	if !r.faulty {
		return nil
	}
	switch r.rng.IntN(25) {
	case 0:
		return fault.New(fault.RateLimited, "", "sim", "429").After(time.Duration(1+r.rng.IntN(10)) * time.Second)
	case 1:
		return fault.New(fault.Retryable, "", "sim", "503")
	case 2:
		return fault.New(fault.Retryable, fault.CodeBadAnswer, "sim", "truncated JSON")
	}
	return nil
}

// The channel type.

func (r *remote) Info() channels.Info                        { return channels.Info{Name: "sim", Label: "Simulated"} }
func (r *remote) Check(channels.Settings) []channels.Problem { return nil }
func (r *remote) Open(context.Context, channels.Settings) (channels.Channel, error) {
	return simChannel{r}, nil
}

type simChannel struct{ r *remote }

func (c simChannel) Ping(context.Context) error                   { return nil }
func (c simChannel) Close() error                                 { return nil }
func (c simChannel) Connector(string) (channels.Connector, error) { return simConnector(c), nil }

type simConnector struct{ r *remote }

func (c simConnector) Capabilities() channels.Capabilities {
	return channels.Capabilities{Incremental: true, Tombstones: c.r.tomb, Enumerates: true, Drifts: c.r.offset}
}

func (c simConnector) Reader(_ context.Context, req channels.ReadRequest) (channels.Reader, error) {
	rd := &simReader{r: c.r, req: req}
	if req.From != nil {
		if err := json.Unmarshal(req.From, &rd.at); err != nil {
			return nil, err
		}
	}
	return rd, nil
}

func (c simConnector) Get(ctx context.Context, fields, ids []string) ([]record.Record, error) {
	if err := yield.Point(ctx, "remote.answer"); err != nil {
		return nil, err
	}
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if err := c.r.trouble(); err != nil {
		return nil, err
	}
	var out []record.Record
	for _, id := range ids {
		x, ok := c.r.all[id]
		if !ok || x.deleted {
			out = append(out, record.Record{ID: id, Deleted: true})
			continue
		}
		out = append(out, x.record(fields))
	}
	return out, nil
}

func (x *contact) record(fields []string) record.Record {
	r := record.Record{ID: x.id, Modified: x.updated, Raw: []byte(`{"id":"` + x.id + `"}`)}
	for _, f := range fields {
		r.Values = append(r.Values, record.T(map[string]string{"email": x.email, "name": x.name, "phone": x.phone}[f]))
	}
	return r
}

// simCursor is where a listing stands.
type simCursor struct {
	Offset int    `json:"o,omitempty"`
	After  string `json:"a,omitempty"` // by (updated, id)
	Tombs  bool   `json:"t,omitempty"`
	End    bool   `json:"e,omitempty"`
}

type simReader struct {
	r   *remote
	req channels.ReadRequest
	at  simCursor
}

func (rd *simReader) Close() error { return nil }

// ReadPage answers with what the remote holds when the question arrives; the
// answer is then on its way for a while.
func (rd *simReader) ReadPage(ctx context.Context) (channels.Page, error) {
	if err := yield.Point(ctx, "remote.answer"); err != nil {
		return channels.Page{}, err
	}
	page, next, err := rd.page(time.Now())
	if err != nil {
		return channels.Page{}, err
	}
	select {
	case <-time.After(rd.r.takes()):
	case <-ctx.Done():
		return channels.Page{}, ctx.Err()
	}
	rd.at = next
	return page, nil
}

func (rd *simReader) page(started time.Time) (p channels.Page, at simCursor, err error) {
	r := rd.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.trouble(); err != nil {
		return p, at, err
	}
	if at = rd.at; at.End {
		return p, at, io.EOF
	}
	p = channels.Page{Total: -1, Bytes: 400, RemoteNow: r.now().Truncate(time.Second), FetchStarted: started, Listed: at.Tombs}
	matching := r.matching(rd.req, at.Tombs)
	if !at.Tombs && r.offset {
		p.Total = int64(len(matching))
	}
	from := rd.start(matching)
	until := min(from+r.page, len(matching))
	for _, c := range matching[from:until] {
		if at.Tombs {
			p.Records = append(p.Records, record.Record{ID: c.id, Deleted: true, Modified: c.updated})
		} else {
			p.Records = append(p.Records, c.record(rd.req.Fields))
		}
		at.After = c.sortKey()
	}
	at.Offset += until - from
	if until == len(matching) {
		at = r.endStage(at)
	}
	p.Next, err = json.Marshal(at)
	return p, at, err
}

// endStage is where a listing goes on when a list is through.
func (r *remote) endStage(at simCursor) simCursor {
	if r.tomb && !at.Tombs {
		return simCursor{Tombs: true}
	}
	at.End = true
	return at
}

// matching lists in the order of (updated, id), as such APIs do.
func (r *remote) matching(req channels.ReadRequest, tombs bool) []*contact {
	var out []*contact
	for _, c := range r.all {
		if c.deleted == tombs && !c.updated.Before(req.Since) && !r.hides(c, req) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *contact) int { return cmp.Compare(a.sortKey(), b.sortKey()) })
	return out
}

func (x *contact) sortKey() string { return x.updated.Format("2006-01-02T15:04:05.000") + "/" + x.id }

func (rd *simReader) start(list []*contact) int {
	if rd.r.offset && !rd.at.Tombs {
		return min(rd.at.Offset, len(list))
	}
	for i, c := range list {
		if c.sortKey() > rd.at.After {
			return i
		}
	}
	return len(list)
}
