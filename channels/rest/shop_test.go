package rest_test

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-sync/tandem/channels/channelstest"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

// shop is a REST server that keeps what it is sent, in one of two manners:
//
//   - pocket: as PocketBase does. Answers hold the record, refusals are 400 with
//     reasons per field, the filter is an expression.
//   - classic: records are sent and given as {"contact": {...}}, ids are numbers,
//     creates answer 201 with a Location and nothing else, updates answer 204, a
//     taken email is 409, and an Idempotency-Key is remembered.
//
// Emails are unique without regard to case and must hold an @.
type shop struct {
	pocket bool
	quote  string // quoted in refusals
	*tt.Server

	mu   sync.Mutex
	next int
	recs map[string]map[string]json.RawMessage
	keys map[string]string // id by idempotency key
	lose bool
}

func newShop(t *testing.T, pocket bool) *shop {
	t.Helper()
	s := &shop{pocket: pocket, recs: map[string]map[string]json.RawMessage{}, keys: map[string]string{}, quote: secret}
	s.Server = tt.New(t, s)
	return s
}

const secret = "c4nary-token"

// remote gives the shop to the acceptance suite.
func (s *shop) remote(settings string, more ...string) *channelstest.Remote {
	return &channelstest.Remote{
		Settings: settingsFor(s.URL, settings, append(more, `"token":"`+secret+`"`)...),
		Count:    s.count,
		Remove: func(id string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.recs, id)
		},
		Lose: func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.lose = true
		},
		Fail: func(statuses ...int) {
			for _, status := range statuses {
				s.Inject(tt.Answer(status, `{"message":"not with `+secret+`"}`))
			}
		},
		Stop:    s.Close,
		Secrets: []string{secret},
	}
}

func (s *shop) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.recs)
}

// ServeHTTP carries the call out and, when it is asked to, loses the answer.
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	lose := s.lose && r.Method != http.MethodGet
	s.lose = s.lose && !lose
	if lose {
		s.serve(httptest.NewRecorder(), r)
	} else {
		s.serve(w, r)
	}
	s.mu.Unlock()
	if lose {
		tt.Reset()(w, r)
	}
}

func (s *shop) serve(w http.ResponseWriter, r *http.Request) {
	id, one := strings.CutPrefix(r.URL.Path, "/contacts/")
	rec := s.recs[id]
	switch {
	case r.URL.Path == "/contacts" && r.Method == http.MethodGet:
		s.list(w, r)
	case r.URL.Path == "/contacts" && r.Method == http.MethodPost:
		s.create(w, r)
	case !one || rec == nil:
		s.refuse(w, http.StatusNotFound, nil)
	case r.Method == http.MethodGet:
		w.Header().Set("ETag", version(rec))
		s.send(w, http.StatusOK, rec)
	case r.Header.Get("If-Match") != "" && r.Header.Get("If-Match") != version(rec):
		s.refuse(w, http.StatusPreconditionFailed, nil)
	case r.Method == http.MethodPatch:
		s.update(w, r, id, rec)
	case r.Method == http.MethodDelete:
		delete(s.recs, id)
		w.WriteHeader(http.StatusNoContent)
	default:
		s.refuse(w, http.StatusMethodNotAllowed, nil)
	}
}

func (s *shop) send(w http.ResponseWriter, status int, rec map[string]json.RawMessage) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	var v any = rec
	if !s.pocket {
		v = map[string]any{"contact": rec}
	}
	_ = json.NewEncoder(w).Encode(v)
}

// refuse answers with reasons per field: name, code, text.
func (s *shop) refuse(w http.ResponseWriter, status int, fields map[string][2]string) {
	data := map[string]any{}
	for name, f := range fields {
		data[name] = map[string]string{"code": f[0], "message": f[1]}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "message": "Not with " + s.quote + ".", "data": data})
}

func (s *shop) read(w http.ResponseWriter, r *http.Request) (map[string]json.RawMessage, bool) {
	body, err := io.ReadAll(r.Body)
	if err == nil && !s.pocket {
		var wrapped struct {
			Contact json.RawMessage `json:"contact"`
		}
		err = json.Unmarshal(body, &wrapped)
		body = wrapped.Contact
	}
	rec := map[string]json.RawMessage{}
	if err == nil {
		err = json.Unmarshal(body, &rec)
	}
	if err != nil {
		s.refuse(w, http.StatusBadRequest, nil)
		return nil, false
	}
	return rec, true
}

// accept checks a record that is to be kept under id.
func (s *shop) accept(w http.ResponseWriter, id string, rec map[string]json.RawMessage) bool {
	email := text(rec["email"])
	if !strings.Contains(email, "@") {
		status := http.StatusBadRequest
		if !s.pocket {
			status = http.StatusUnprocessableEntity
		}
		s.refuse(w, status, map[string][2]string{"email": {"validation_is_email", "Must be a valid email address."}})
		return false
	}
	for other, x := range s.recs {
		if other == id || !strings.EqualFold(text(x["email"]), email) {
			continue
		}
		if s.pocket {
			s.refuse(w, http.StatusBadRequest, map[string][2]string{"email": {"validation_not_unique", "Value must be unique."}})
		} else {
			w.WriteHeader(http.StatusConflict)
			_, _ = fmt.Fprintf(w, `{"error":"taken","id":"e-77","contact":{"id":%s}}`, other)
		}
		return false
	}
	return true
}

// version is the entity tag of a record.
func version(rec map[string]json.RawMessage) string {
	raw, _ := json.Marshal(rec)
	h := fnv.New64a()
	_, _ = h.Write(raw)
	return fmt.Sprintf(`"v%x"`, h.Sum64())
}

func text(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s)
	return s
}

func (s *shop) create(w http.ResponseWriter, r *http.Request) {
	rec, ok := s.read(w, r)
	if !ok {
		return
	}
	key := r.Header.Get("Idempotency-Key")
	id := s.keys[key]
	if id == "" {
		if !s.accept(w, "", rec) {
			return
		}
		s.next++
		id = strconv.Itoa(s.next)
		rec["id"] = json.RawMessage(id)
		if s.pocket {
			id = fmt.Sprintf("rec%012d", s.next)
			rec["id"] = json.RawMessage(strconv.Quote(id))
		}
		s.recs[id] = rec
		if key != "" {
			s.keys[key] = id
		}
	}
	if s.pocket {
		s.send(w, http.StatusOK, s.recs[id])
		return
	}
	w.Header().Set("Location", "/contacts/"+id)
	w.WriteHeader(http.StatusCreated)
}

func (s *shop) update(w http.ResponseWriter, r *http.Request, id string, rec map[string]json.RawMessage) {
	change, ok := s.read(w, r)
	if !ok {
		return
	}
	next := maps.Clone(rec)
	maps.Copy(next, change)
	next["id"] = rec["id"]
	if !s.accept(w, id, next) {
		return
	}
	s.recs[id] = next
	if s.pocket {
		s.send(w, http.StatusOK, next)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// filter is the one expression that the pocket manner understands.
var filter = regexp.MustCompile(`^\(email='((?:[^'\\]|\\.)*)'\)$`)

func (s *shop) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	email, asked := q.Get("email"), q.Has("email")
	if f := q.Get("filter"); f != "" && s.pocket {
		m := filter.FindStringSubmatch(f)
		if m == nil {
			s.refuse(w, http.StatusBadRequest, nil)
			return
		}
		email, asked = regexp.MustCompile(`\\(.)`).ReplaceAllString(m[1], "$1"), true
	}
	var all []map[string]json.RawMessage
	for _, id := range slices.Sorted(maps.Keys(s.recs)) {
		if !asked || strings.EqualFold(text(s.recs[id]["email"]), email) {
			all = append(all, s.recs[id])
		}
	}
	page, _ := strconv.Atoi(q.Get("page"))
	size, _ := strconv.Atoi(q.Get("perPage"))
	from := min(max(page-1, 0)*size, len(all))
	_ = json.NewEncoder(w).Encode(map[string]any{"items": all[from:min(from+size, len(all))], "totalItems": len(all)})
}
