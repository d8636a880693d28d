package channels

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/tandem-sync/tandem/fault"
)

var typeName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)

// Registry holds channel types by name. The zero value is empty and ready.
type Registry struct {
	mu    sync.RWMutex
	types map[string]Type
	hooks []Hook
}

// AddHook has a hook called for every record of every channel, after those that
// were added before it.
func (r *Registry) AddHook(h Hook) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hooks = append(r.hooks, h)
}

// Hooks gives the hooks in the order in which they were added.
func (r *Registry) Hooks() []Hook {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.hooks)
}

// Default is the registry that channel types enter from their init functions:
// the one global of the program.
var Default = &Registry{}

// Register adds a type. A malformed or taken name is an error.
func (r *Registry) Register(t Type) error {
	name := t.Info().Name
	if !typeName.MatchString(name) {
		return fmt.Errorf("channel type name %q: want %s", name, typeName)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.types[name]; ok {
		return fmt.Errorf("channel type %q is registered twice", name)
	}
	if r.types == nil {
		r.types = map[string]Type{}
	}
	r.types[name] = t
	return nil
}

// MustRegister registers with Default and panics on an error; for init only.
func MustRegister(t Type) {
	if err := Default.Register(t); err != nil {
		panic(err)
	}
}

// Get gives the type of that name; an unknown one is an error with code
// not_found that lists the known names.
func (r *Registry) Get(name string) (Type, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if t, ok := r.types[name]; ok {
		return t, nil
	}
	return nil, fault.New(fault.Permanent, fault.CodeNotFound, "", "no channel type %q", name).
		WithHint("known types: " + strings.Join(r.names(), ", "))
}

// All gives the types in order of name.
func (r *Registry) All() []Type {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]Type, 0, len(r.types))
	for _, n := range r.names() {
		out = append(out, r.types[n])
	}
	return out
}

func (r *Registry) names() []string {
	out := make([]string, 0, len(r.types))
	for n := range r.types {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}
