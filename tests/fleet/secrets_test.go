package fleet

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/internal/demo"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/transport/transporttest"
)

// canaries are the secrets of a configuration, each findable by its own text.
const (
	canaryToken  = "canary-token-5f1b"
	canaryHeader = "canary-header-77aa"
	canaryQuery  = "canary-query-9c3d"
)

// TestSecretsStayInside: a remote that throws every secret it was given back at
// Tandem, in bodies, headers, redirects and errors, and bad messages besides.
// No secret is found in any log, answer, error, message or column.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	for name, auth := range map[string]string{
		"bearer": `token: ` + canaryToken + `, headers: {X-Extra: ` + canaryHeader + `}`,
		"query":  `auth: {type: query, name: api_key, value: ` + canaryQuery + `}, headers: {X-Extra: ` + canaryHeader + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRemote(t, demo.Options{Contacts: 50, Broken: 2, Seed: 18})
			nasty := transporttest.New(t, r.Remote)
			r.url = nasty.URL
			w := newFleetOn(t, r, "concurrency: 4", "concurrency: 4, "+auth)
			var seen leaks
			seen.run(w, nasty)
			if len(nasty.Leaks(canaryHeader)) == 0 || len(nasty.Leaks(canaryToken))+len(nasty.Leaks(canaryQuery)) == 0 {
				t.Fatal("the remote never got the secrets: this test proves nothing")
			}
			for where, text := range seen.texts {
				for _, secret := range []string{canaryToken, canaryHeader, canaryQuery} {
					if i := strings.Index(text, secret); i >= 0 {
						t.Errorf("%s holds %s: …%s…", where, secret, text[max(0, i-200):min(len(text), i+60)])
					}
				}
			}
			if !strings.Contains(seen.texts["database"], "tandem:v1:") || !strings.Contains(seen.texts["messages"], `"slice"`) {
				t.Error("no sealed secret or no slice was found: the search missed them")
			}
		})
	}
}

// leaks collects every text that leaves Tandem.
type leaks struct{ texts map[string]string }

func (l *leaks) run(w *world, nasty *transporttest.Server) {
	l.texts = map[string]string{}
	processes := map[string]*process{}
	processes["control log"] = w.spawn(binary, "run", "--roles", "scheduler,relay,web", "--log-level", "debug")
	w.ready(processes["control log"], w.listen)
	port := freePort(w.t)
	processes["worker log"] = w.spawn(binary, "run", "--roles", "worker", "--log-level", "debug", "--health", "127.0.0.1:"+port)
	w.ready(processes["worker log"], "127.0.0.1:"+port)

	f := w.foreign()
	published := f.tap()

	good := w.finished(w.begin(`{}`).ID)
	for i, step := range []transporttest.Step{
		echo(http.StatusUnauthorized), echo(http.StatusForbidden), echo(http.StatusBadRequest), echo(http.StatusNotFound),
		func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "http://127.0.0.2:1/elsewhere?"+r.URL.RawQuery+"&t="+r.Header.Get("Authorization")+r.Header.Get("X-Extra"), http.StatusFound)
		},
	} {
		nasty.Handle("/contacts", step)
		out := w.tandem("sync", "crm", "--full", "--wait", "-o", "json")
		text := w.tandem("sync", "crm", "--full", "--wait")
		if out.code != 1 || text.code != 1 {
			w.t.Errorf("step %d: exit codes %d and %d, want 1", i, out.code, text.code)
		}
		l.texts[fmt.Sprintf("sync of step %d", i)] = out.out + out.errors + text.out + text.errors
		test := w.tandem("channels", "test", "crm", "-o", "json")
		l.texts[fmt.Sprintf("channels test of step %d", i)] = test.out + test.errors
	}
	f.publish(messages.KeySyncNow, `{"v":1,"type":"sync","channel":"crm","odd":1}`)
	until(w.t, 20*time.Second, "the bad message on the dead queue", func() bool { return f.depth(messages.QueueDead) == 1 })
	for body, reason := range f.dead(1) {
		l.texts["dead letter"] = body + reason
	}
	l.texts["messages"] = published()
	for _, path := range []string{"channels", "channels/crm", "runs", fmt.Sprintf("runs/%d", good.ID), "parked", "openapi.json"} {
		_, raw := call(w.t, http.MethodGet, "http://"+w.listen+"/api/v1/"+path, w.token, "")
		l.texts["GET "+path] = string(raw)
	}
	for _, args := range [][]string{{"channels", "show", "crm"}, {"channels", "show", "crm", "-o", "json"}, {"runs", "list", "-o", "json"}, {"parked", "list", "-o", "json"}, {"apply"}, {"validate"}} {
		r := w.tandem(args...)
		l.texts["tandem "+strings.Join(args, " ")] = r.out + r.errors
	}
	l.texts["database"] = w.everything()
	for name, p := range processes {
		l.texts[name] = p.out.String() + p.log.String()
	}
}

// echo answers with a status and everything the request carried.
func echo(status int) transporttest.Step {
	return func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("WWW-Authenticate", r.Header.Get("Authorization"))
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(status)
		fmt.Fprintf(rw, `{"error":"your request was %s with %s and %s"}`, r.URL, r.Header.Get("Authorization"), r.Header.Get("X-Extra"))
	}
}

// everything gives each row of each table of the database as text.
func (w *world) everything() string {
	w.t.Helper()
	var all strings.Builder
	w.look(func(ctx context.Context, db *sql.DB) error {
		tables, err := texts(ctx, db, "SELECT quote_ident(relname) FROM pg_stat_user_tables")
		if err != nil {
			return err
		}
		for _, table := range tables {
			rows, err := texts(ctx, db, "SELECT t::text FROM "+table+" t") // #nosec G202 -- names from the catalogue
			if err != nil {
				return err
			}
			all.WriteString(strings.Join(rows, "\n"))
		}
		return nil
	})
	return all.String()
}

func texts(ctx context.Context, db *sql.DB, query string) ([]string, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err says it
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// TestSecretsOnDisk: neither the database file of SQLite nor anything beside it
// holds a secret in clear, and nobody else may read the key.
func TestSecretsOnDisk(t *testing.T) {
	t.Parallel()
	w := newEmbedded(t, demo.Options{Contacts: 20, Seed: 19}, "concurrency: 4", "concurrency: 4, token: ${CANARY}, headers: {X-Extra: "+canaryHeader+"}")
	w.env = append(w.env, "CANARY="+canaryToken)
	p := w.service()
	w.finished(w.begin(`{}`).ID)
	p.kill() // the write-ahead log stays
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "tandem.yaml" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(w.dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{canaryToken, canaryHeader} {
			if strings.Contains(string(b), secret) {
				t.Errorf("%s holds %s", e.Name(), secret)
			}
		}
		info, err := e.Info()
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v (%v): others may read it", e.Name(), info.Mode(), err)
		}
	}
}
