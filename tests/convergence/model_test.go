package convergence

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The fields of a record: the identity and what people edit.
var fields = [...]string{"email", "name", "phone", "city"}

// edit is one value that somebody wrote. Every edit writes a value that nobody
// else writes, so a value names its edit.
type edit struct {
	// parent is the value that it replaced, as far as anybody could know that it
	// was there. "" is none.
	parent string
	at     string // L, A or B
	email  string
	step   int
}

// model is what people did and what may come of it.
type model struct {
	mu    sync.Mutex
	n     int
	step  int
	edits map[string]*edit
	// gone are the identities that somebody deleted or took the key of, with the
	// places where. What other people did to the same record meanwhile may be
	// lost with it, or keep it alive.
	gone map[string]string
	// acts counts what people did to an identity after the beginning.
	acts   map[string]int
	blind  map[string]bool     // values that were written over without anybody's fault
	unsure map[string]bool     // values that a remote spells in its own way and never told of
	rows   map[string]string   // the identity that was last seen under a key
	reused bool                // a key was given to another row
	hands  map[string]touching // what each worker deals with, see touch
	broken []string
	story  []string // what happened, for people
}

func newModel() *model {
	return &model{edits: map[string]*edit{}, gone: map[string]string{}, acts: map[string]int{}, rows: map[string]string{}, blind: map[string]bool{}, unsure: map[string]bool{}, hands: map[string]touching{}}
}

// breaks notes that a promise was broken.
func (m *model) breaks(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.breaksLocked(format, args...)
}

func (m *model) breaksLocked(format string, args ...any) {
	if len(m.broken) < 40 {
		m.sayLocked("BROKEN "+format, args...)
		m.broken = append(m.broken, fmt.Sprintf("step %d: ", m.step)+fmt.Sprintf(format, args...))
	}
}

// say tells what happened.
func (m *model) say(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sayLocked(format, args...)
}

func (m *model) sayLocked(format string, args ...any) {
	m.story = append(m.story, fmt.Sprintf("%4d %s ", m.step, time.Now().UTC().Format("15:04:05.000"))+fmt.Sprintf(format, args...))
}

// token makes a value for an edit at a place.
func (m *model) token(at string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.n++
	return strings.ToLower(at) + "-" + strconv.Itoa(m.n)
}

// wrote notes an edit.
func (m *model) wrote(token, parent, at, email string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sayLocked("  %s: %s is %s, was %s", at, email, token, parent)
	m.edits[fold(token)] = &edit{parent: fold(parent), at: at, email: fold(email), step: m.step}
	if m.step > 0 {
		m.acts[fold(email)]++
	}
}

// unseen notes a value that nobody had a chance to see before it was replaced.
func (m *model) unseen(token string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blind[fold(token)] = true
}

// untold notes a value that was sent to a remote that spells it in its own way,
// which nobody heard of again. It cannot be known for what it is when it is met.
func (m *model) untold(token string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unsure[fold(token)] = true
}

func (m *model) isUnsure(token string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.unsure[fold(token)]
}

// by says where a value comes from; "" nobody wrote it.
func (m *model) by(token string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.edits[fold(token)]; e != nil {
		return e.at
	}
	return ""
}

// dropped notes that somebody deleted a record, or took its key. paired says that
// all sides knew of the record, so that they can be told.
func (m *model) dropped(email, at string, paired bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sayLocked("  %s: %s deleted", at, email)
	m.gone[fold(email)] += at
	m.acts[fold(email)]++
	if !paired {
		m.acts[fold(email)]++ // not the only thing that happened to it, then
	}
}

func (m *model) isGone(email string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gone[fold(email)] != ""
}

// goneElsewhere reports whether somebody deleted the record at another place.
func (m *model) goneElsewhere(email, at string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Trim(m.gone[fold(email)], at) != ""
}

// older reports whether value a was replaced, directly or not, by value b: to
// write a over b takes an edit back that nobody took back.
func (m *model) older(a, b string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	a = fold(a)
	for e := m.edits[fold(b)]; e != nil && e.parent != ""; e = m.edits[e.parent] {
		if e.parent == a {
			return true
		}
	}
	return false
}

// replaced gives the values that somebody replaced.
func (m *model) replaced() map[string]bool {
	out := map[string]bool{}
	for _, e := range m.edits {
		out[e.parent] = true
	}
	return out
}

// contested reports whether an item waits because two rows want to be one record:
// after a key was given to another row, that is for a person to settle.
func (m *model) contested(p item) bool {
	return m.reused && (p.Kind == "duplicate_identity" || p.Reason == "refused_by_database" || p.Reason == "not_pulled")
}

func (m *model) holds(key, email string) { m.rows[key] = email }

func (m *model) lastAt(key string) string { return m.rows[key] }

// fold takes away what a remote may do to the spelling of a value.
func fold(s string) string { return strings.ToLower(s) }
