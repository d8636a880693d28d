package config

import (
	"regexp"
	"slices"
	"strings"

	"github.com/tandem-sync/tandem/transport/settings"
)

// Levels of the file at which keys stand.
const (
	levelTop       = ""
	levelNetwork   = "network"
	levelWorkers   = "workers"
	levelEntity    = "entities.NAME"
	levelChannel   = "channels[]"
	levelConnector = "channels[].connectors[]"
	levelScope     = "channels[].connectors[].scope"
	levelSet       = "channels[].connectors[].set"
	levelDelete    = "channels[].connectors[].delete"
	levelMapping   = "channels[].connectors[].mapping[]"
	levelTransform = "channels[].connectors[].mapping[].transform"
)

// levels lists the keys that the file itself knows, in the order of the
// documentation. What stands below transport, remote and operations belongs to
// the channel's type.
var levels = []struct {
	name string
	keys []string
}{
	{levelTop, []string{"database", "broker", "listen", "secret_key", "network", "workers", "entities", "channels"}},
	{levelNetwork, []string{"allow", "allow_plaintext"}},
	{levelWorkers, []string{"sync", "reverse_sync", "lease"}},
	{levelEntity, []string{"table", "key", "modified", "deleted", "capture", "create"}},
	{levelChannel, []string{"name", "type", "transport", "schedule", "conflict", "connectors", "operations"}},
	{levelConnector, []string{
		"name", "entity", "direction", "create", "match", "scope", "set", "delete",
		"overlap", "full", "limit", "mapping", "remote",
	}},
	{levelScope, []string{"local", "remote"}},
	{levelSet, []string{"local", "remote"}},
	{levelDelete, []string{"local", "remote"}},
	{levelMapping, []string{"local", "remote", "direction", "type", "on", "required", "default", "ref", "transform"}},
	{levelTransform, []string{"to_local", "to_remote"}},
}

// typeKeys are keys of channel types that are often put a level too high.
var typeKeys = map[string]string{
	"base_url": "transport", "token": "transport", "auth": "transport", "headers": "transport",
	"timeout": "transport", "rate_limit": "transport", "concurrency": "transport",
	"list": "remote", "id": "remote", "get": "remote", "since": "remote.list", "page": "remote.list", "records": "remote.list",
}

// keysOf gives the keys of a level.
func keysOf(level string) []string {
	for _, l := range levels {
		if l.name == level {
			return l.keys
		}
	}
	return nil
}

// keyFix says what to do about an unknown key of a level.
func keyFix(level, key string) string {
	known := keysOf(level)
	if near := settings.Nearest(strings.ToLower(key), known); near != "" {
		return "did you mean " + near + "?"
	}
	if owner := typeKeys[key]; owner != "" && (level == levelChannel || level == levelConnector) {
		return "it belongs under " + owner
	}
	for _, l := range levels {
		if l.name != level && l.name != levelTop && slices.Contains(l.keys, key) {
			return "it is a key of " + l.name + "; here stand: " + strings.Join(known, ", ")
		}
	}
	return "known keys: " + strings.Join(known, ", ")
}

// choiceFix says what to write for one of a few words.
func choiceFix(word string, known []string) string {
	if near := settings.Nearest(strings.ToLower(word), known); near != "" {
		return "did you mean " + near + "? One of " + strings.Join(known, ", ")
	}
	return "one of " + strings.Join(known, ", ")
}

// secretPaths match the fields whose values must never be shown or stored in
// clear. database and broker may hold a password.
var secretPaths = regexp.MustCompile(
	`^(secret_key|database|broker|channels\[\d+\]\.transport\.(token|auth\.(token|password|value|client_secret)|headers\..*))$`)

func secretPath(path string) bool { return secretPaths.MatchString(path) }

// Variables gives the environment variables that stand for scalar top keys, by
// key; TANDEM_API_TOKEN has no key.
func Variables() map[string]string {
	return map[string]string{
		"database": "TANDEM_DATABASE", "broker": "TANDEM_BROKER",
		"listen": "TANDEM_LISTEN", "secret_key": "TANDEM_SECRET_KEY",
	}
}

// notifyVariable switches NOTIFY on. It has no key: whoever runs the relay decides
// what the application's commits may cost.
const notifyVariable = "TANDEM_NOTIFY"

// apiTokenVariable holds the token that HTTP callers must show.
const apiTokenVariable = "TANDEM_API_TOKEN" //nolint:gosec // the name of a variable, not a token
