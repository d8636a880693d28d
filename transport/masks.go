package transport

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tandem-sync/tandem/internal/redact"
)

// maxMasked is how many tokens got at run time are masked; older ones have
// ended long ago.
const maxMasked = 16

// masks is a masker that learns secrets while it is used. Safe for concurrent
// use.
type masks struct {
	mu    sync.Mutex
	fixed []string
	late  []string
	m     atomic.Pointer[redact.Masker]
}

func newMasks(secrets ...string) *masks {
	m := &masks{fixed: secrets}
	first := redact.NewMasker(secrets...)
	m.m.Store(&first)
	return m
}

// Text gives s with every known secret replaced.
func (m *masks) Text(s string) string { return m.m.Load().Text(s) }

func (m *masks) add(secrets ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := len(m.late)
	for _, s := range secrets {
		if s != "" && !slices.Contains(m.late, s) && !slices.Contains(m.fixed, s) {
			m.late = append(m.late, s)
		}
	}
	if len(m.late) == known {
		return
	}
	m.late = m.late[max(0, len(m.late)-maxMasked):]
	next := redact.NewMasker(slices.Concat(m.fixed, m.late)...)
	m.m.Store(&next)
}
