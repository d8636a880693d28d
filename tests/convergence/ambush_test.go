package convergence

import (
	"context"
	"strings"

	"github.com/tandem-sync/tandem/tests/internal/bubble"
)

// touching is what the workers deal with at the moment.
type touching struct {
	at  string // the remote
	who []string
}

// fresh forgets what a reader dealt with: it has something new in hand.
func (m *model) fresh(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.hands, ownerOf(ctx))
}

// touch notes whose record a reader has in hand.
func (m *model) touch(ctx context.Context, at, email string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.hands[ownerOf(ctx)]
	if h.at != at {
		h = touching{at: at}
	}
	h.who = append(h.who, email)
	m.hands[ownerOf(ctx)] = h
}

// inHand says what a worker dealt with last.
func (m *model) inHand(owner string) touching {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hands[owner]
}

// working reports whether a worker is in the middle of a slice at a point.
func working(point string) bool {
	for _, p := range []string{"remote.", "page.", "plan.", "export.", "tx.wait batch", "tx.wait export", "tx.wait slice"} {
		if strings.HasPrefix(point, p) {
			return true
		}
	}
	return false
}

// ambush lets people do what they have waited for this moment to do. It reports
// whether the worker is held up where it is.
func (w *world) ambush(x *bubble.Waiter) (held bool) {
	for i, a := range w.ambushes {
		hand := w.m.inHand(w.workers[x.Worker].owner())
		if !strings.HasPrefix(x.Point, a.On) || len(hand.who) == 0 {
			continue
		}
		w.ambushes = append(w.ambushes[:i:i], w.ambushes[i+1:]...)
		a.who = hand.who[a.Row%len(hand.who)]
		if a.At == "R" || a.What == actClash {
			a.At = hand.at
		}
		w.faults["ambush"]++
		w.note("at w%d %s, held for %d", x.Worker, x.Point, a.Hold)
		w.do(a)
		if a.Hold == 0 {
			return false
		}
		w.sched.Freeze(x.Worker, w.steps+a.Hold)
		return true
	}
	return false
}

// clash edits one field of one record here and at a remote.
func (w *world) clash(a act) {
	r := w.remotes[a.At]
	if a.who == "" {
		r.mu.Lock()
		if list := r.live(); len(list) > 0 {
			a.who = list[a.Row%len(list)].vals[0]
		}
		r.mu.Unlock()
	}
	if a.who == "" {
		return
	}
	a.What = actEdit
	w.there(r, a)
	w.local(a)
}
