package fleet

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/internal/demo"
	"github.com/tandem-sync/tandem/internal/testenv"
)

// failure is the error object of a command with -o json.
type failure struct {
	Error struct{ Code, Message, Hint, Where string }
}

// fails runs a command twice, as text and with -o json, and wants the same exit
// code and a complete error from both.
func (w *world) fails(code int, name string, args ...string) failure {
	w.t.Helper()
	text := w.tandem(args...)
	if text.code != code || text.errors == "" {
		w.t.Errorf("tandem %v: exit code %d, want %d: %s", args, text.code, code, text.errors)
	}
	r := w.tandem(append(args, "-o", "json")...)
	var f failure
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &f); err != nil {
		w.t.Fatalf("tandem %v -o json: %v in %q", args, err, r.out)
	}
	if r.code != code || f.Error.Code != name || f.Error.Message == "" || f.Error.Hint == "" {
		w.t.Errorf("tandem %v -o json: exit code %d, want %d and code %s: %+v", args, r.code, code, name, f.Error)
	}
	if !strings.Contains(text.errors, f.Error.Hint) {
		w.t.Errorf("tandem %v: the hint %q is not in %s", args, f.Error.Hint, text.errors)
	}
	for _, address := range []string{w.database, w.broker} {
		if u, err := url.Parse(address); err == nil && u.User != nil {
			if p, _ := u.User.Password(); p != "" && strings.Contains(text.errors+text.out+r.out+r.errors, p) {
				w.t.Errorf("tandem %v shows a password", args)
			}
		}
	}
	return f
}

// changed gives a URL with one part replaced.
func changed(t *testing.T, address string, change func(u *url.URL)) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	change(u)
	return u.String()
}

// TestStartWithoutServices: what is missing at the start is said in one error
// with a way out, and the exit code tells an absent service from a wrong
// configuration.
func TestStartWithoutServices(t *testing.T) {
	t.Parallel()
	database, broker := testenv.Postgres(t), testenv.RabbitMQ(t)
	r := newRemote(t, demo.Options{Contacts: 10, Seed: 13})
	password := func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "wrong-password-of-a-user") }
	gone := func(u *url.URL) { u.Host = "127.0.0.1:" + freePort(t) }
	for name, c := range map[string]struct {
		database, broker string
		migrated         bool
		code             int
		fault            string
		commands         []string
		says             string
	}{
		"database gone":       {database: changed(t, database, gone), broker: broker, code: 3, fault: "unreachable", commands: []string{"run", "migrate", "apply"}},
		"wrong password":      {database: changed(t, database, password), broker: broker, code: 2, fault: "config", commands: []string{"run", "migrate", "apply"}},
		"no such database":    {database: changed(t, database, func(u *url.URL) { u.Path = "/absent" }), broker: broker, code: 2, fault: "config", commands: []string{"run"}},
		"schema missing":      {database: database, broker: broker, code: 3, fault: "schema_old", commands: []string{"run", "apply"}, says: "tandem migrate"},
		"broker gone":         {database: testenv.Postgres(t), migrated: true, broker: changed(t, broker, gone), code: 3, fault: "unreachable", commands: []string{"run"}},
		"broker's password":   {database: testenv.Postgres(t), migrated: true, broker: changed(t, broker, password), code: 2, fault: "config", commands: []string{"run"}},
		"service not running": {database: testenv.Postgres(t), migrated: true, broker: broker, code: 3, fault: "unreachable", commands: []string{"sync crm", "runs list", "parked list"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.database, c.broker, r)
			if c.migrated {
				w.must("migrate")
				w.must("apply")
			}
			for _, command := range c.commands {
				began := time.Now()
				f := w.fails(c.code, c.fault, strings.Fields(command)...)
				t.Logf("%s: %s (%s) after %v", command, f.Error.Message, f.Error.Hint, time.Since(began).Round(time.Second))
				if !strings.Contains(f.Error.Message+f.Error.Hint, c.says) {
					t.Errorf("%s does not say %q: %+v", command, c.says, f.Error)
				}
			}
		})
	}
}
