package config

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-sync/tandem/channels"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a channel type that wants transport.base_url and a remote per
// connector, and that quotes what it does not like.
type fake struct{ name string }

func (f fake) Info() channels.Info {
	i := channels.Info{Name: f.name, Label: f.name}
	if f.name == "rest" {
		i.Capabilities = []string{channels.CapabilityOperations}
	}
	return i
}

func (fake) Open(context.Context, channels.Settings) (channels.Channel, error) {
	return nil, errors.New("never opened in these tests")
}

func (fake) Check(s channels.Settings) []channels.Problem {
	var out []channels.Problem
	var transport struct {
		BaseURL string `json:"base_url"`
		Token   string `json:"token"`
	}
	if err := json.Unmarshal(s.Transport, &transport); err != nil {
		return append(out, channels.Problem{Field: "transport", Message: "cannot be read: " + err.Error(), Fix: "fix it"})
	}
	if transport.BaseURL == "" || transport.BaseURL == "ftp://x" {
		out = append(out, channels.Problem{Field: "transport.base_url", Message: "is no address", Fix: "write one"})
	}
	if transport.Token == "bad-token" {
		out = append(out, channels.Problem{Field: "transport.token", Message: `"bad-token" is no token`, Fix: "not bad-token"})
	}
	for i, c := range s.Connectors {
		if c.Remote == nil {
			out = append(out, channels.Problem{Field: "connectors[" + string(rune('0'+i)) + "].remote.list.path", Message: "is missing", Fix: "write it"})
		}
	}
	return out
}

// registry holds fake types only.
func registry(tb testing.TB) *channels.Registry {
	tb.Helper()
	reg := &channels.Registry{}
	for _, name := range []string{"rest", "hubspot"} {
		if err := reg.Register(fake{name}); err != nil {
			tb.Fatal(err)
		}
	}
	return reg
}

// env looks up the given variables only.
func env(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

// write makes a file of a test.
func write(tb testing.TB, name, text string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}
