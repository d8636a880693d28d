package convergence

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/sync/record"
)

// contact is a record of a simulated remote.
type contact struct {
	m       *model
	name    string // of its remote
	id      string
	vals    [len(fields)]string
	updated time.Time
	version int
	deleted bool
	shows   time.Time                      // in listings and look-ups from then on
	late    time.Time                      // in listings of changes from then on
	guards  bool                           // tells its version
	told    map[string][len(fields)]string // what it held when each reader read it last
}

// remote is a simulated application with a clock and with habits of its own.
type remote struct {
	traits
	name string // A or B
	m    *model

	mu      sync.Mutex
	all     map[string]*contact
	nextID  int
	keys    map[string]string // idempotency key -> id
	creates map[string]int    // by identity: how many Tandem made
	writes  int               // of Tandem that changed something
	echoes  int               // of Tandem that wrote what was there
	trouble []mess            // what the next calls meet
}

func newRemote(name string, t traits, m *model) *remote {
	return &remote{traits: t, name: name, m: m, all: map[string]*contact{}, keys: map[string]string{}, creates: map[string]int{}}
}

func (r *remote) now() time.Time {
	return time.Now().Add(time.Duration(r.Skew) * time.Second).UTC().Truncate(time.Millisecond)
}

// add makes a record; the caller holds the lock.
func (r *remote) add(vals [len(fields)]string) *contact {
	r.nextID++
	c := &contact{m: r.m, name: r.name, id: strings.ToLower(r.name) + strconv.Itoa(r.nextID), updated: r.now(), version: 1, guards: r.Guards, told: map[string][len(fields)]string{}}
	for f, v := range vals {
		c.vals[f] = r.spelled(v)
	}
	r.all[c.id] = c
	return c
}

func (r *remote) spelled(v string) string {
	if r.Upper {
		return strings.ToUpper(v)
	}
	return v
}

// live lists what exists, in the order of ids; the caller holds the lock.
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

// named finds a live record by its identity; the caller holds the lock.
func (r *remote) named(email string) *contact {
	for _, c := range r.live() {
		if fold(c.vals[0]) == fold(email) {
			return c
		}
	}
	return nil
}

// The channel type.

func (r *remote) Info() channels.Info {
	return channels.Info{Name: "sim-" + strings.ToLower(r.name), Label: "Simulated " + r.name}
}
func (r *remote) Check(channels.Settings) []channels.Problem { return nil }
func (r *remote) Open(context.Context, channels.Settings) (channels.Channel, error) {
	return simChannel{r}, nil
}

type simChannel struct{ r *remote }

func (c simChannel) Ping(context.Context) error { return nil }
func (c simChannel) Close() error               { return nil }
func (c simChannel) Connector(string) (channels.Connector, error) {
	if c.r.Finds {
		return finding{simConnector(c)}, nil
	}
	return simConnector(c), nil
}

type simConnector struct{ r *remote }

func (c simConnector) Capabilities() channels.Capabilities {
	return channels.Capabilities{Incremental: true, Tombstones: c.r.Tombs, Enumerates: true, Drifts: c.r.Offset}
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

func (c simConnector) Get(ctx context.Context, names, ids []string) ([]record.Record, error) {
	if err := yield.Point(ctx, "remote.get "+c.r.name); err != nil {
		return nil, err
	}
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if err := c.r.failsRead(); err != nil {
		return nil, err
	}
	c.r.m.fresh(ctx)
	var out []record.Record
	for _, id := range ids {
		x, ok := c.r.all[id]
		if !ok || x.deleted {
			out = append(out, record.Record{ID: id, Deleted: true})
			continue
		}
		out = append(out, x.record(ctx, names))
	}
	return out, nil
}

// failsRead takes the trouble that is in store for a call that only reads.
func (r *remote) failsRead() error {
	if len(r.trouble) == 0 || r.trouble[0].What == faultChanged {
		return nil
	}
	t := r.trouble[0]
	r.trouble = r.trouble[1:]
	if t.What == faultBusy {
		return fault.New(fault.RateLimited, "", "sim", "429").After(time.Duration(1+t.Arg%10) * time.Second)
	}
	return fault.New(fault.Retryable, "", "sim", "%s", t.What)
}

func (x *contact) record(ctx context.Context, names []string) record.Record {
	r := record.Record{ID: x.id, Modified: x.updated, Raw: []byte(`{"id":"` + x.id + `"}`)}
	if x.guards {
		r.Version = strconv.Itoa(x.version)
	}
	x.told[reader(ctx)] = x.vals
	x.m.touch(ctx, x.name, x.vals[0])
	for _, n := range names {
		r.Values = append(r.Values, x.value(n))
	}
	return r
}

func (x *contact) value(name string) record.Value {
	v := x.vals[slices.Index(fields[:], name)]
	if v == "" {
		return record.NullValue
	}
	return record.T(v)
}

// finding is a connector that can be asked for records by their values.
type finding struct{ simConnector }

func (c finding) Find(ctx context.Context, names []string, by []int, identities [][]record.Value) ([][]record.Record, error) {
	if err := yield.Point(ctx, "remote.find "+c.r.name); err != nil {
		return nil, err
	}
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if err := c.r.failsRead(); err != nil {
		return nil, err
	}
	out := make([][]record.Record, len(identities))
	for i, id := range identities {
		for _, x := range c.r.live() {
			same := !time.Now().Before(x.shows)
			for k, f := range by {
				same = same && fold(x.value(names[f]).Text) == fold(id[k].Text)
			}
			if same {
				out[i] = append(out[i], x.record(ctx, names))
			}
		}
	}
	return out, nil
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
	if err := yield.Point(ctx, "remote.page "+rd.r.name); err != nil {
		return channels.Page{}, err
	}
	page, next, err := rd.page(ctx, time.Now())
	if err != nil {
		return channels.Page{}, err
	}
	if err := takes(ctx, 5*time.Millisecond); err != nil {
		return channels.Page{}, err
	}
	rd.at = next
	return page, nil
}

func takes(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (rd *simReader) page(ctx context.Context, started time.Time) (p channels.Page, at simCursor, err error) {
	r := rd.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if at = rd.at; at.End {
		return p, at, io.EOF
	}
	if err := r.failsRead(); err != nil {
		return p, at, err
	}
	r.m.fresh(ctx)
	p = channels.Page{Total: -1, Bytes: 400, RemoteNow: r.now().Truncate(time.Second), FetchStarted: started, Listed: at.Tombs}
	matching := r.matching(rd.req, at.Tombs)
	if !at.Tombs && r.Offset {
		p.Total = int64(len(matching))
	}
	from := rd.start(matching)
	until := min(from+r.Page, len(matching))
	for _, c := range matching[from:until] {
		if at.Tombs {
			p.Records = append(p.Records, record.Record{ID: c.id, Deleted: true, Modified: c.updated})
		} else {
			p.Records = append(p.Records, c.record(ctx, rd.req.Fields))
		}
		at.After = c.sortKey()
	}
	at.Offset += until - from
	if until == len(matching) {
		if r.Tombs && !at.Tombs {
			at = simCursor{Tombs: true}
		} else {
			at.End = true
		}
	}
	p.Next, err = json.Marshal(at)
	return p, at, err
}

// matching lists in the order of (updated, id), as such APIs do.
func (r *remote) matching(req channels.ReadRequest, tombs bool) []*contact {
	var out []*contact
	for _, c := range r.all {
		hidden := time.Now().Before(c.shows) || !req.Since.IsZero() && time.Now().Before(c.late)
		if c.deleted == tombs && !c.updated.Before(req.Since) && !hidden {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *contact) int { return cmp.Compare(a.sortKey(), b.sortKey()) })
	return out
}

func (x *contact) sortKey() string { return x.updated.Format("2006-01-02T15:04:05.000") + "/" + x.id }

func (rd *simReader) start(list []*contact) int {
	if rd.r.Offset && !rd.at.Tombs {
		return min(rd.at.Offset, len(list))
	}
	for i, c := range list {
		if c.sortKey() > rd.at.After {
			return i
		}
	}
	return len(list)
}
