package deploy_test

import (
	"context"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/messages/rabbit"
	"github.com/tandem-sync/tandem/store"
)

// addresses are what one installation is told to set TANDEM_DATABASE and
// TANDEM_BROKER to.
type addresses struct{ database, broker, config string }

// kubernetesSecret finds the addresses in the command that makes the Secret.
func kubernetesSecret(t *testing.T) addresses {
	t.Helper()
	a := addresses{config: "tandem.yaml"}
	for key, into := range map[string]*string{"database": &a.database, "broker": &a.broker} {
		m := regexp.MustCompile(`--from-literal=` + key + `='([^']+)'`).FindStringSubmatch(text(t, "README.md"))
		if m == nil {
			t.Fatalf("the README makes no Secret with %s", key)
		}
		*into = m[1]
	}
	return a
}

func composeEnvironment(t *testing.T) addresses {
	t.Helper()
	secret := regexp.MustCompile(`\$\{[A-Z_]+:\?[^}]*\}`)
	for _, s := range compose(t).Services {
		if s.Environment["TANDEM_DATABASE"] != "" {
			return addresses{
				config: "compose.yaml", database: secret.ReplaceAllString(s.Environment["TANDEM_DATABASE"], "x"),
				broker: secret.ReplaceAllString(s.Environment["TANDEM_BROKER"], "x"),
			}
		}
	}
	t.Fatal("no service of compose has a database")
	return addresses{}
}

// TestAddressesAreTaken gives the program the addresses as the installations
// have them: neither the file nor what dials refuses them. It also holds that
// Kubernetes' need no permission for plaintext, and that a lesser sslmode does.
func TestAddressesAreTaken(t *testing.T) {
	t.Parallel()
	for _, a := range []addresses{kubernetesSecret(t), composeEnvironment(t)} {
		env := environment()
		env["TANDEM_DATABASE"], env["TANDEM_BROKER"] = a.database, a.broker
		file, problems := config.Load(filepath.Join("config", a.config), func(k string) (string, bool) { v, ok := env[k]; return v, ok })
		if err := problems.Err(); err != nil {
			t.Fatal(err)
		}
		if file.Database != a.database || file.Broker != a.broker {
			t.Errorf("%s: the environment does not decide: %s, %s", a.config, file.Database, file.Broker)
		}
		plaintext := file.Network.AllowPlaintext
		if plaintext != (a.config == "compose.yaml") {
			t.Errorf("%s: allow_plaintext is %v", a.config, plaintext)
		}
		if err := open(t, a.database, plaintext); fault.CodeOf(err) == fault.CodeConfig {
			t.Errorf("%s: the database is refused: %v", a.config, err)
		}
		if b, err := rabbit.New(rabbit.Config{URL: a.broker, AllowPlaintext: plaintext}); err != nil {
			t.Errorf("%s: the broker is refused: %v", a.config, err)
		} else if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	lesser := strings.Replace(kubernetesSecret(t).database, "verify-full", "require", 1)
	if err := open(t, lesser, false); fault.CodeOf(err) != fault.CodeConfig {
		t.Errorf("%s is not refused: %v", lesser, err)
	}
}

// open gives the error of opening a database that is not to be reached.
func open(t *testing.T, address string, plaintext bool) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	db, err := store.Open(ctx, store.Config{URL: address, AllowPlaintext: plaintext})
	if err == nil {
		_ = db.Close()
		t.Fatal("a database that is not there was opened")
	}
	return err
}
