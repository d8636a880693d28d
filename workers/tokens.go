package workers

import (
	"context"
	"encoding/json"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/redact"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/transport"
)

// tokenRight is how long the right to renew a token lasts; a renewal ends well
// before.
const tokenRight = time.Minute

// tokenField is the place of a channel's token in the name it is sealed under.
const tokenField = "oauth2.token" //nolint:gosec // a name, not a token

// channelTokens keeps one channel's OAuth2 token in the database, sealed.
type channelTokens struct {
	cfg     *Config
	id      int64
	channel string
}

var _ transport.TokenStore = channelTokens{}

// sealedToken is a token as it is sealed.
type sealedToken struct {
	Access  string    `json:"access"`
	Refresh string    `json:"refresh,omitempty"`
	Expires time.Time `json:"expires"`
	RenewAt time.Time `json:"renew_at"`
	For     string    `json:"for"`
}

// Load gives the stored token.
func (c channelTokens) Load(ctx context.Context) (transport.StoredToken, error) {
	var row store.TokenRow
	err := c.cfg.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		row, err = tx.Token(ctx, c.id)
		return err
	})
	if err != nil {
		return transport.StoredToken{}, err
	}
	out := transport.StoredToken{Version: row.Version, Problem: row.Problem}
	if row.Pending != nil {
		out.Pending = *row.Pending
	}
	if row.Sealed == "" {
		return out, nil
	}
	t, err := c.open(row.Sealed)
	out.Token = t
	return out, err
}

func (c channelTokens) open(sealed string) (transport.Token, error) {
	if c.cfg.Keys == nil {
		return transport.Token{}, c.noKey()
	}
	plain, err := c.cfg.Keys.Open(sealed, SecretName(c.channel, tokenField))
	if err != nil {
		return transport.Token{}, fault.Wrap(fault.Permanent, fault.CodeConfig, "access token of channel "+c.channel, err)
	}
	var t sealedToken
	if err := json.Unmarshal([]byte(plain), &t); err != nil {
		return transport.Token{}, fault.New(fault.Permanent, fault.CodeConfig, "access token of channel "+c.channel, "the stored token cannot be read")
	}
	return transport.Token{
		Access: redact.Secret(t.Access), Refresh: redact.Secret(t.Refresh), Expires: t.Expires, RenewAt: t.RenewAt, For: t.For,
	}, nil
}

func (c channelTokens) noKey() error {
	return fault.New(fault.Permanent, fault.CodeConfig, "secrets", "channel %s has an access token and no secret_key is set", c.channel)
}

func (c channelTokens) seal(t transport.Token) (string, error) {
	if c.cfg.Keys == nil {
		return "", c.noKey()
	}
	b, err := json.Marshal(sealedToken{string(t.Access), string(t.Refresh), t.Expires, t.RenewAt, t.For})
	if err != nil {
		return "", err
	}
	return c.cfg.Keys.Seal(string(b), SecretName(c.channel, tokenField)), nil
}

// Begin takes the right to renew the token.
func (c channelTokens) Begin(ctx context.Context, version int64, pending bool) (ok bool, err error) {
	err = c.cfg.DB.Write(ctx, "token.begin", func(ctx context.Context, tx *store.Tx) error {
		ok, err = tx.BeginToken(ctx, c.id, version, c.cfg.Owner, tokenRight, pending)
		return err
	})
	return ok, err
}

// End stores what became of the renewal.
func (c channelTokens) End(ctx context.Context, version int64, end transport.TokenEnd) (ok bool, err error) {
	e := store.TokenEnd{Problem: end.Problem}
	if !end.Pending.IsZero() {
		e.Pending = &end.Pending
	}
	t := end.Token
	if t == nil && end.Problem != "" {
		t = &transport.Token{For: end.For} // the credential that the problem is about
	}
	if t != nil {
		sealed, err := c.seal(*t)
		if err != nil {
			return false, err
		}
		e.Sealed = &sealed
	}
	err = c.cfg.DB.Write(ctx, "token.end", func(ctx context.Context, tx *store.Tx) error {
		ok, err = tx.EndToken(ctx, c.id, version, c.cfg.Owner, e)
		return err
	})
	return ok, err
}

// noteBreaker gives the report of a channel's breaker: what it did is kept for
// everybody to see.
func noteBreaker(cfg *Config, id int64, channel string) func(context.Context, transport.BreakerChange) {
	return func(ctx context.Context, b transport.BreakerChange) {
		if b.Open > 0 {
			cfg.Logger.Warn("a channel's remote does not answer; its circuit breaker is open",
				zap.String("channel", channel), zap.Duration("open", b.Open), zap.String("reason", b.Reason))
		} else {
			cfg.Logger.Info("a channel's remote is back; its circuit breaker is closed", zap.String("channel", channel))
		}
		c, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		err := cfg.DB.Write(c, "breaker", func(ctx context.Context, tx *store.Tx) error {
			return tx.SetBreaker(ctx, id, b.Open, b.Reason)
		})
		if err != nil {
			cfg.Logger.Info("the state of a breaker was not noted", zap.String("channel", channel), zap.Error(err))
		}
	}
}
