package transport

import (
	"context"
	"sync"
	"time"

	"github.com/tandem-sync/tandem/internal/redact"
)

// Token is what a token endpoint gave.
type Token struct {
	Access  redact.Secret
	Refresh redact.Secret // "" none
	// Expires is when the access token ends; zero: it was not told, so that only
	// a refusal shows it.
	Expires time.Time
	// RenewAt is when it is renewed ahead of its end; zero with Expires.
	RenewAt time.Time
	// For is a fingerprint of the configured credential that it was got with: a
	// token of another credential is not used.
	For string
}

// StoredToken is a token as its store keeps it. The zero value is "none yet".
type StoredToken struct {
	Token
	Version int64 // grows with every token and every problem
	Problem string
	// Pending is since when a renewal has no known answer; zero none.
	Pending time.Time
}

// TokenEnd is what became of a renewal.
type TokenEnd struct {
	Token *Token // the new token; nil none
	// Problem says why only a person can renew it; "" none. For names the
	// credential that it is about.
	Problem string
	For     string
	Pending time.Time // since when an answer is not known; zero all are
}

// TokenStore keeps the token of one channel for all processes that use it and
// lets one of them renew it at a time. Safe for concurrent use.
type TokenStore interface {
	// Load gives the stored token.
	Load(ctx context.Context) (StoredToken, error)
	// Begin takes the right to renew the token for a minute; false when the
	// stored version is another one, or somebody has the right. pending notes
	// durably that a renewal begins whose answer may get lost.
	Begin(ctx context.Context, version int64, pending bool) (bool, error)
	// End stores what became of it and gives the right back; false when somebody
	// stored another version meanwhile, which is the one that holds.
	End(ctx context.Context, version int64, end TokenEnd) (bool, error)
}

// memoryTokens is the TokenStore of a client that shares its token with nobody.
type memoryTokens struct {
	mu    sync.Mutex
	token StoredToken
	taken bool
}

// NewMemoryTokens gives a TokenStore that forgets with the process.
func NewMemoryTokens() TokenStore { return &memoryTokens{} }

func (m *memoryTokens) Load(context.Context) (StoredToken, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.token, nil
}

func (m *memoryTokens) Begin(_ context.Context, version int64, _ bool) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.taken || m.token.Version != version {
		return false, nil
	}
	m.taken = true
	return true, nil
}

func (m *memoryTokens) End(_ context.Context, version int64, end TokenEnd) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken = false
	if m.token.Version != version {
		return false, nil
	}
	if end.Token != nil {
		m.token.Token = *end.Token
	}
	if end.Problem != "" {
		m.token.For = end.For
	}
	if end.Token != nil || end.Problem != "" {
		m.token.Version++
	}
	m.token.Problem, m.token.Pending = end.Problem, end.Pending
	return true, nil
}
