package transport

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/internal/jitter"
)

// CodeReauthorise is the code of a credential that only a person can renew: no
// call is made with it any more.
const CodeReauthorise = "reauthorise"

const (
	// renewAhead is how long before its end a token is renewed; at most a fifth
	// of its life.
	renewAhead = 30 * time.Second
	// renewLimit bounds one renewal with everything it takes; the right to renew
	// lasts longer.
	renewLimit = 30 * time.Second
	// renewWait bounds the wait for a renewal by somebody else.
	renewWait = 40 * time.Second
	saveTries = 5
	saveLimit = 15 * time.Second
)

// oauth gives the access token of a client and renews it. One renewal at a time
// in this process by turn, and in all processes by the store.
type oauth struct {
	auth  Auth
	store TokenStore
	ask   *tokenClient
	clock clock.Clock
	mask  *masks
	key   string // fingerprint of the configured credential
	turn  chan struct{}

	mu  sync.Mutex
	now StoredToken // what calls use
	// unsaved is a token that could not be stored: nobody else has it, so it is
	// stored before anything else happens.
	unsaved *Token
}

func newOAuth(a Auth, s TokenStore, ask *tokenClient, c clock.Clock, m *masks) *oauth {
	if s == nil {
		s = NewMemoryTokens()
	}
	return &oauth{auth: a, store: s, ask: ask, clock: c, mask: m, key: fingerprint(a), turn: make(chan struct{}, 1)}
}

// fingerprint names a credential without telling it.
func fingerprint(a Auth) string {
	b, err := json.Marshal([]any{a.TokenURL.String(), a.ClientID, string(a.ClientSecret), string(a.Token), a.Scopes})
	if err != nil { // texts always encode
		panic(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// refreshes reports whether the credential is a refresh token, which a renewal
// may use up.
func (o *oauth) refreshes() bool { return o.auth.Token != "" }

func (o *oauth) due(t Token) bool {
	return t.Access == "" || !t.RenewAt.IsZero() && !o.clock.Now().Before(t.RenewAt)
}

func (o *oauth) dead(t Token) bool {
	return t.Access == "" || !t.Expires.IsZero() && !o.clock.Now().Before(t.Expires)
}

// token gives the token to call with, renewed if its time has come.
func (o *oauth) token(ctx context.Context, op string) (StoredToken, error) {
	o.mu.Lock()
	now := o.now
	o.mu.Unlock()
	if !o.due(now.Token) {
		return now, nil
	}
	next, err := o.renew(ctx, op, now.Version)
	if err == nil {
		return next, nil
	}
	if c := fault.Of(err); (c == fault.Retryable || c == fault.RateLimited) && ctx.Err() == nil && !o.dead(now.Token) {
		return now, nil // it is renewed ahead of time; the next call tries again
	}
	return next, err
}

// renew gives a token newer than version bad, which is not to be used any more:
// one that somebody else stored meanwhile, else a new one.
func (o *oauth) renew(ctx context.Context, op string, bad int64) (StoredToken, error) {
	select {
	case o.turn <- struct{}{}:
	case <-ctx.Done():
		return StoredToken{}, cancelled(op, ctx.Err())
	}
	defer func() { <-o.turn }()
	if err := o.saveLate(ctx, op); err != nil {
		return StoredToken{}, err
	}
	begun := o.clock.Now()
	for {
		got, err := o.store.Load(ctx)
		if err != nil {
			return StoredToken{}, storeFailed(op, err)
		}
		mine := got.For == o.key
		switch {
		case mine && got.Problem != "":
			return StoredToken{}, reauthorise(op, got.Problem)
		case mine && got.Version > bad && !o.due(got.Token):
			return o.use(got), nil
		}
		ok, err := o.store.Begin(ctx, got.Version, o.refreshes())
		if err != nil {
			return StoredToken{}, storeFailed(op, err)
		}
		if ok {
			next, again, err := o.renewNow(ctx, op, got, mine)
			if !again {
				return next, err
			}
			continue
		}
		if o.clock.Now().Sub(begun) > renewWait {
			return StoredToken{}, fault.New(fault.Retryable, fault.CodeUnreachable, op, "another worker has been renewing the access token for %s", renewWait)
		}
		if err := o.clock.Sleep(ctx, jitter.Between(ctx, 50*time.Millisecond, 200*time.Millisecond)); err != nil {
			return StoredToken{}, cancelled(op, err)
		}
	}
}

func storeFailed(op string, err error) error {
	if fault.Of(err) == fault.Unknown {
		err = fault.Wrap(fault.Retryable, "", op, err)
	}
	return err
}

// others reports whether what is stored is about another credential.
func (o *oauth) others(t StoredToken) bool { return t.For != "" && t.For != o.key }

func (o *oauth) use(t StoredToken) StoredToken {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now = t
	o.mask.add(string(t.Access), string(t.Refresh))
	return t
}

// renewNow asks the token endpoint; the right to do so is ours. again says that
// somebody else stored another token meanwhile.
func (o *oauth) renewNow(ctx context.Context, op string, had StoredToken, mine bool) (next StoredToken, again bool, err error) {
	refresh := o.auth.Token
	if mine && had.Refresh != "" {
		refresh = had.Refresh
	}
	limited, cancel := context.WithTimeout(ctx, renewLimit)
	defer cancel()
	began := o.clock.Now()
	t, err := o.ask.exchange(limited, op, string(refresh))
	if err == nil {
		if t.For = o.key; !o.refreshes() {
			t.Refresh = ""
		} else if t.Refresh == "" {
			t.Refresh = refresh // it can be used again
		}
		return o.keep(ctx, had.Version, t)
	}
	var r *refusal
	if !errors.As(err, &r) {
		return StoredToken{}, false, o.giveUp(ctx, had, began, err)
	}
	if r.outcome != outcomeRefused || !o.refreshes() {
		if r.outcome != outcomeUnknown || !o.refreshes() {
			began = time.Time{}
		}
		return StoredToken{}, false, o.giveUp(ctx, had, began, r.err)
	}
	// The refresh token is not accepted. Whoever renewed it meanwhile stored
	// another one, which holds.
	problem := "the remote does not accept the refresh token any more (" + r.text + ")"
	if !o.others(had) && !had.Pending.IsZero() {
		problem = "the answer to the renewal begun at " + had.Pending.UTC().Format(time.RFC3339) +
			" was lost, and the remote does not accept the refresh token from before it any more (" + r.text + ")"
	}
	ok, err := o.end(ctx, had.Version, TokenEnd{Problem: problem, For: o.key})
	if err != nil {
		return StoredToken{}, false, storeFailed(op, err)
	}
	if !ok {
		return StoredToken{}, true, nil
	}
	return StoredToken{}, false, reauthorise(op, problem)
}

func reauthorise(op, problem string) error {
	return fault.New(fault.Permanent, CodeReauthorise, op, "re-authorise: %s", problem).
		WithHint("authorise the application again and put the new refresh token into transport.auth.token; no call is made until then")
}

// giveUp gives the right back without a token. unknown, when not zero, is when a
// renewal began whose answer is lost; an earlier loss counts first.
func (o *oauth) giveUp(ctx context.Context, had StoredToken, unknown time.Time, err error) error {
	pending := had.Pending
	if pending.IsZero() || o.others(had) {
		pending = unknown
	}
	_, serr := o.end(ctx, had.Version, TokenEnd{Pending: pending})
	if serr != nil {
		// The right ends by itself; what is noted as pending stays so.
		return errors.Join(err, storeFailed("", serr))
	}
	return err
}

// end is the store's, also when ctx has ended: the remote has answered already.
func (o *oauth) end(ctx context.Context, version int64, e TokenEnd) (ok bool, err error) {
	c, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveLimit)
	defer cancel()
	for try := range saveTries {
		if ok, err = o.store.End(c, version, e); err == nil {
			return ok, nil
		}
		if o.clock.Sleep(c, jitter.Between(ctx, 50*time.Millisecond, (100*time.Millisecond)<<try)) != nil {
			break
		}
	}
	return ok, err
}

// keep stores a new token. One that cannot be stored is used all the same and
// stored before the next renewal: the old refresh token may be worth nothing.
func (o *oauth) keep(ctx context.Context, version int64, t Token) (StoredToken, bool, error) {
	ok, err := o.end(ctx, version, TokenEnd{Token: &t})
	if err == nil && !ok {
		return StoredToken{}, true, nil
	}
	if err != nil {
		o.mu.Lock()
		o.unsaved = &t
		o.mu.Unlock()
		return o.use(StoredToken{Token: t, Version: version}), false, nil
	}
	return o.use(StoredToken{Token: t, Version: version + 1}), false, nil
}

// saveLate stores the token that could not be stored before.
func (o *oauth) saveLate(ctx context.Context, op string) error {
	o.mu.Lock()
	t, version := o.unsaved, o.now.Version
	o.mu.Unlock()
	if t == nil {
		return nil
	}
	// Not ok: somebody else got a token meanwhile, or ours arrived after all.
	if _, err := o.store.End(ctx, version, TokenEnd{Token: t}); err != nil {
		return storeFailed(op, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unsaved = nil
	return nil
}
