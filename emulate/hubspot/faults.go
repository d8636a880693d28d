package hubspot

import (
	"bytes"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Fault is something that goes wrong with one call. Make it with the functions
// below; On and For say which calls it is for.
type Fault struct {
	op     Op
	left   int
	skip   int
	answer func(*Portal) answer // instead of the real answer; nil keeps that
	spoil  func(http.ResponseWriter, *http.Request, answer)

	// A fault of one row of a batch.
	row                string
	category, rowTells string
}

// On limits the fault to an operation.
func (f Fault) On(op Op) Fault {
	f.op = op
	return f
}

// For makes the fault happen n times; without it, once.
func (f Fault) For(n int) Fault {
	f.left = n
	return f
}

// After lets n calls of the operation pass first; those that meet another fault
// count too.
func (f Fault) After(n int) Fault {
	f.skip = n
	return f
}

// Inject makes faults happen to the calls that come next, in order.
func (p *Portal) Inject(faults ...Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range faults {
		if f.left == 0 {
			f.left = 1
		}
		p.faults = append(p.faults, f)
	}
}

// Heal forgets the faults that have not happened yet, and gives their number.
func (p *Portal) Heal() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.faults)
	p.faults = nil
	return n
}

// fault takes the next fault for q. Row faults are collected in q.
func (p *Portal) fault(q *request) (Fault, bool) {
	var hit Fault
	found := false
	kept := p.faults[:0]
	for _, f := range p.faults {
		fits := f.op == OpAny || f.op == q.op
		switch {
		case fits && f.skip > 0:
			f.skip--
		case f.row != "" && (!fits || !bytes.Contains(q.body, []byte(`"`+f.row+`"`))):
		case f.row != "":
			q.rows = append(q.rows, f)
			f.left--
		case fits && !found:
			hit, found = f, true
			f.left--
		}
		if f.left > 0 {
			kept = append(kept, f)
		}
	}
	p.faults = kept
	if !found {
		hit, found = p.trouble.take(p.calls[OpAny])
	}
	return hit, found
}

// TooMany is a 429 of the policy; without retryAfter the header is left out, as
// HubSpot often does.
func TooMany(policy string, retryAfter time.Duration) Fault {
	return Fault{answer: func(p *Portal) answer { return wait(p.tooMany(policy), retryAfter) }}
}

func wait(a answer, d time.Duration) answer {
	if d > 0 {
		return a.with("Retry-After", strconv.Itoa(int((d+time.Second-1)/time.Second)))
	}
	return a
}

// Locked is a 423: the account is busy for two seconds.
func Locked() Fault {
	return Fault{answer: func(p *Portal) answer {
		return p.problem(http.StatusLocked, "LOCKED", "Too much is going on at this account, wait at least 2 seconds.")
	}}
}

// Migrating is a 477: the account is moved to another data centre.
func Migrating(retryAfter time.Duration) Fault {
	return Fault{answer: func(p *Portal) answer {
		return wait(p.problem(477, "MIGRATION_IN_PROGRESS", "This account is being moved between data centres."), retryAfter)
	}}
}

// Status is an error of any status.
func Status(status int, category, message string) Fault {
	return Fault{answer: func(p *Portal) answer { return p.problem(status, category, message) }}
}

// HTML is a page of a proxy or a login with status 200.
func HTML() Fault {
	return Fault{answer: func(*Portal) answer {
		return answer{status: http.StatusOK, body: []byte("<!doctype html><html><title>Just a moment…</title></html>")}.
			with("Content-Type", "text/html; charset=utf-8")
	}}
}

// Body answers 200 with any body as JSON.
func Body(body string) Fault {
	return Fault{answer: func(*Portal) answer { return answer{status: http.StatusOK, body: []byte(body)} }}
}

// Truncated promises the whole answer and breaks off in its middle.
func Truncated() Fault {
	return Fault{spoil: func(w http.ResponseWriter, _ *http.Request, a answer) {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body[:len(a.body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // closes the connection
	}}
}

// Half sends half of the answer as if it were all of it.
func Half() Fault {
	return Fault{spoil: func(w http.ResponseWriter, _ *http.Request, a answer) {
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body[:len(a.body)/2])
	}}
}

// Reset makes the change, if the call is one, and cuts the connection without an
// answer.
func Reset() Fault {
	return Fault{spoil: func(w http.ResponseWriter, _ *http.Request, _ answer) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}}
}

// Slow delays the answer.
func Slow(d time.Duration) Fault {
	return Fault{spoil: func(w http.ResponseWriter, r *http.Request, a answer) {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			return
		}
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body)
	}}
}

// Row makes one row of the next batch fail, so that it answers 207. It is for
// batch reads unless On says otherwise. In writes id may also be an input's trace
// id or one of its values, and without trace ids the batch fails as a whole.
func Row(id, category, message string) Fault {
	return Fault{op: OpBatchRead, row: id, category: category, rowTells: message}
}

// Silence leaves one row of the next batch read out without a word. On a batch
// write it is carried out all the same.
func Silence(id string) Fault { return Fault{op: OpBatchRead, row: id} }
