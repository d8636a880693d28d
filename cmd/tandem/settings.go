package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store/seal"
	"github.com/tandem-sync/tandem/transport"
)

const (
	brokerEmbedded = "embedded"
	tokenVariable  = "TANDEM_API_TOKEN" //nolint:gosec // the name of the variable, not a token
)

// path is the file to read; "" is the default one, which may be missing.
func (a *app) path() string {
	if a.configNamed {
		return a.config
	}
	return ""
}

// load reads the configuration file. One that cannot be read gives all of its
// problems, not only those that reading it found.
func (a *app) load() (*config.File, error) {
	file, problems := config.Load(a.path(), a.env)
	if len(problems) > 0 {
		return a.loadChecked()
	}
	return file, nil
}

// loadChecked reads the file and checks all that needs no network.
func (a *app) loadChecked() (*config.File, error) {
	file, problems := config.Validate(a.path(), a.env, registry())
	return file, problems.Err()
}

// apiToken is the token from the environment; "" none.
func (a *app) apiToken() string {
	token, _ := a.env(tokenVariable)
	return strings.TrimSpace(token)
}

// sqlitePath gives the file of a SQLite database.
func sqlitePath(database string) (string, bool) { return strings.CutPrefix(database, "sqlite:") }

// isEmbedded reports whether the configuration describes one process: SQLite,
// or no broker.
func isEmbedded(file *config.File) bool {
	_, sqlite := sqlitePath(file.Database)
	return sqlite || file.Broker == brokerEmbedded
}

func guardOf(file *config.File) transport.Guard {
	return transport.Guard{Allow: file.Network.Allow, AllowPlaintext: file.Network.AllowPlaintext}
}

// keyring gives the keys that seal secrets: secret_key, else, for SQLite, a key
// file beside the database. A key that a rotation brings opens, too.
func keyring(file *config.File) (*seal.Keyring, error) {
	keys, err := currentKey(file)
	if err != nil || file.SecretKeyNew == "" {
		return keys, err
	}
	next, err := seal.New(file.SecretKeyNew)
	if err != nil {
		return nil, fault.Wrap(fault.Permanent, fault.CodeConfig, config.NewKeyVariable, err)
	}
	return keys.With(next), nil
}

func currentKey(file *config.File) (*seal.Keyring, error) {
	if file.SecretKey != "" {
		keys, err := seal.New(file.SecretKey)
		if err != nil {
			return nil, fault.Wrap(fault.Permanent, fault.CodeConfig, "secret_key", err)
		}
		return keys, nil
	}
	path, ok := sqlitePath(file.Database)
	if !ok {
		return nil, fault.New(fault.Permanent, fault.CodeConfig, "", "secret_key is missing: with PostgreSQL every process needs the same key").
			WithHint("put 32 random bytes as base64 into TANDEM_SECRET_KEY: openssl rand -base64 32").WithWhere("secret_key")
	}
	return seal.KeyFile(path + ".key")
}

// newToken makes a token nobody can guess.
func newToken() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// ownerName names this process and start in leases.
func ownerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d/%s", host, os.Getpid(), newToken()[:8])
}

// loopbackOnly reports whether an address to listen at is reached from this
// machine only.
func loopbackOnly(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
