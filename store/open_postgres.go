package store

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/tandem-sync/tandem/fault"
)

const (
	defaultConns   = 16
	connectTimeout = 10 * time.Second
	connLifetime   = 30 * time.Minute
	connIdleTime   = 5 * time.Minute
)

// sessionSettings pins what the text form of values and the length of waits
// depend on; a server's or role's own defaults must not change what we compare.
var sessionSettings = map[string]string{
	"TimeZone":                            "UTC",
	"DateStyle":                           "ISO, MDY",
	"IntervalStyle":                       "postgres",
	"bytea_output":                        "hex",
	"extra_float_digits":                  "1",
	"client_min_messages":                 "warning",
	"statement_timeout":                   "30s",
	"lock_timeout":                        "5s",
	"idle_in_transaction_session_timeout": "30s",
	"standard_conforming_strings":         "on",
	"synchronous_commit":                  "on",
	// Compiling a statement takes longer than any of ours runs.
	"jit": "off",
	// Rows are found by key; with the default of 4 a batch of a few thousand
	// keys reads whole tables instead.
	"random_page_cost": "1.1",
}

func (db *DB) openPostgres(ctx context.Context, opts Config) error {
	const op = "open database"
	u, err := url.Parse(opts.URL)
	if err != nil || u.Host == "" && u.Query().Get("host") == "" {
		// The parse error would show the address with its password.
		return fault.New(fault.Permanent, fault.CodeConfig, op, "the PostgreSQL address cannot be read").
			WithHint("write postgres://user:password@host:5432/name; escape special letters of the password as %XX")
	}
	cfg, err := pq.NewConfig(opts.URL)
	if err != nil {
		return fault.New(fault.Permanent, fault.CodeConfig, op, "the PostgreSQL address has a wrong option: %s", redact(err, u)).
			WithHint("see the connection options of lib/pq")
	}
	if !opts.AllowPlaintext {
		if err := checkTLS(op, cfg); err != nil {
			return err
		}
	}
	if cfg.Runtime == nil {
		cfg.Runtime = map[string]string{}
	}
	for k, v := range sessionSettings {
		cfg.Runtime[k] = v
	}
	// One round trip a statement instead of two: the statement is not described
	// before its parameters are sent. They travel as text, bytes as they are.
	cfg.BinaryParameters = true
	if cfg.ApplicationName == "" {
		cfg.ApplicationName = "tandem"
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	connector, err := pq.NewConnectorConfig(cfg)
	if err != nil {
		return fault.New(fault.Permanent, fault.CodeConfig, op, "the PostgreSQL address has a wrong option: %s", redact(err, u))
	}
	maxConns := opts.MaxConns
	if maxConns <= 0 {
		maxConns = defaultConns
	}
	db.url = opts.URL
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(maxConns)
	pool.SetMaxIdleConns(maxConns)
	pool.SetConnMaxLifetime(connLifetime)
	pool.SetConnMaxIdleTime(connIdleTime)
	db.write = sqlx.NewDb(pool, "postgres")
	db.read = db.write
	if err := pool.PingContext(ctx); err != nil {
		return openError(op, u, err)
	}
	return nil
}

// openError explains a failed first connection without the address's password.
func openError(op string, u *url.URL, err error) error {
	if c := Classify(err); fault.CodeOf(c) == fault.CodeConfig {
		return fault.New(fault.Permanent, fault.CodeConfig, op, "%s refuses: %s", u.Host, redact(err, u)).
			WithHint(fault.HintOf(c))
	}
	cause := errors.New(redact(err, u))
	return fault.New(fault.Retryable, fault.CodeUnreachable, op, "PostgreSQL at %s: %w", u.Host, cause).
		WithHint("start PostgreSQL there or correct `database:`")
}
