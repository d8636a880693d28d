package transporttest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Collection is a small remote: records with an id and an update time that
// every kind of paging can list. Safe for concurrent use.
//
//	GET  /page?page=&size=          {"items": [...], "total": n}
//	GET  /offset?offset=&limit=     {"items": [...], "total": n}
//	GET  /cursor?after=&limit=      {"items": [...], "next": token or null}
//	GET  /next_url?limit=           {"items": [...], "next": address or null}
//	GET  /link?limit=               [...] and a Link header
//	GET  /none                      [...]
//	GET  /keyed                     {"items": {id: {...}}}
//	POST /search {"after","limit"}  {"items": [...], "next": token or null}
//	GET  /deleted?page=&size=       {"ids": [...], "total": n}
//	GET  /records/{id}              {...}, 404 or 410
//
// since=RFC3339 (in the body of /search) limits a list to what changed then or
// later. The server caps size and limit at Cap.
type Collection struct {
	Cap  int // records per page at most; 0 is 100
	mu   sync.Mutex
	now  func() time.Time
	recs map[string]map[string]any
	at   map[string]time.Time
	gone map[string]time.Time
}

// NewCollection makes an empty collection whose clock is now.
func NewCollection(now func() time.Time) *Collection {
	return &Collection{now: now, recs: map[string]map[string]any{}, at: map[string]time.Time{}, gone: map[string]time.Time{}}
}

// Put creates or replaces a record; id and updated are set by the collection.
func (c *Collection) Put(id string, fields map[string]any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rec := maps.Clone(fields)
	if rec == nil {
		rec = map[string]any{}
	}
	at := c.now().UTC()
	rec["id"], rec["updated"] = id, at.Format(time.RFC3339Nano)
	c.recs[id], c.at[id] = rec, at
	delete(c.gone, id)
}

// Delete removes a record and leaves a tombstone.
func (c *Collection) Delete(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.recs, id)
	delete(c.at, id)
	c.gone[id] = c.now().UTC()
}

// IDs gives the ids of all records, sorted.
func (c *Collection) IDs() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.recs))
}

// query is what a listing was asked for.
type query struct {
	since         time.Time
	page, at, cap int
	after         string
}

func (c *Collection) ask(get func(string) string) (query, error) {
	q := query{page: 1, cap: c.Cap, after: get("after")}
	if q.cap == 0 {
		q.cap = 100
	}
	for _, x := range []struct {
		name string
		to   *int
	}{{"page", &q.page}, {"offset", &q.at}} {
		if v := get(x.name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil {
				return q, fmt.Errorf("%s: %w", x.name, err)
			}
			*x.to = n
		}
	}
	for _, name := range []string{"size", "limit"} {
		if n, err := strconv.Atoi(get(name)); err == nil && n > 0 {
			q.cap = min(q.cap, n)
		}
	}
	if v := get("since"); v != "" {
		var err error
		if q.since, err = time.Parse(time.RFC3339, v); err != nil {
			return q, err
		}
	}
	return q, nil
}

// list gives the ids of from that changed at or after since, sorted.
func list(from map[string]time.Time, since time.Time) []string {
	var out []string
	for id, at := range from {
		if since.IsZero() || !at.Before(since) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

func slice(ids []string, from, n int) []string {
	from = max(0, min(from, len(ids)))
	return ids[from:min(from+n, len(ids))]
}

func (c *Collection) objects(ids []string) []map[string]any {
	out := make([]map[string]any, len(ids))
	for i, id := range ids {
		out[i] = c.recs[id]
	}
	return out
}

// ServeHTTP answers as the type's comment says.
func (c *Collection) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id, ok := cutPath(r.URL.Path); ok {
		c.one(w, id)
		return
	}
	get := r.URL.Query().Get
	if r.Method == http.MethodPost {
		body := map[string]any{}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		get = func(name string) string {
			if v, ok := body[name]; ok {
				return fmt.Sprint(v)
			}
			return ""
		}
	}
	q, err := c.ask(get)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.lists(w, r, q)
}

func cutPath(path string) (string, bool) {
	const prefix = "/records/"
	if len(path) > len(prefix) && path[:len(prefix)] == prefix {
		return path[len(prefix):], true
	}
	return "", false
}

func (c *Collection) one(w http.ResponseWriter, id string) {
	switch rec, ok := c.recs[id]; {
	case ok:
		send(w, rec)
	case !c.gone[id].IsZero():
		http.Error(w, "gone", http.StatusGone)
	default:
		http.Error(w, "no such record", http.StatusNotFound)
	}
}

func (c *Collection) lists(w http.ResponseWriter, r *http.Request, q query) {
	ids := list(c.at, q.since)
	total := len(ids)
	switch r.URL.Path {
	case "/page":
		send(w, map[string]any{"items": c.objects(slice(ids, (q.page-1)*q.cap, q.cap)), "total": total})
	case "/offset":
		send(w, map[string]any{"items": c.objects(slice(ids, q.at, q.cap)), "total": total})
	case "/deleted":
		gone := list(c.gone, q.since)
		send(w, map[string]any{"ids": slice(gone, (q.page-1)*q.cap, q.cap), "total": len(gone)})
	case "/cursor", "/search":
		part, next := after(ids, q)
		send(w, map[string]any{"items": c.objects(part), "next": orNull(next)})
	case "/next_url":
		part, next := after(ids, q)
		if next != "" {
			next = "http://" + r.Host + c.address(r.URL, next)
		}
		send(w, map[string]any{"items": c.objects(part), "next": orNull(next)})
	case "/link":
		part, next := after(ids, q)
		if next != "" {
			w.Header().Set("Link", `<https://other.example/>; rel="prev", <`+c.address(r.URL, next)+`>; rel="last next"`)
		}
		send(w, c.objects(part))
	case "/none":
		send(w, c.objects(ids))
	case "/keyed":
		send(w, map[string]any{"items": c.recs})
	default:
		http.NotFound(w, r)
	}
}

func (c *Collection) address(u *url.URL, next string) string {
	q := u.Query()
	q.Set("after", next)
	return u.Path + "?" + q.Encode()
}

// after gives the ids behind q.after and the token of the rest.
func after(ids []string, q query) (part []string, next string) {
	from, found := slices.BinarySearch(ids, q.after)
	if found {
		from++
	}
	part = slice(ids, from, q.cap)
	if from+len(part) < len(ids) && len(part) > 0 {
		next = part[len(part)-1]
	}
	return part, next
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func send(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
