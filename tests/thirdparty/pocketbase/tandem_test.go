package pocketbase

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/lib/pq"
	_ "modernc.org/sqlite"
)

// deployment is a Tandem that syncs one PocketBase into one database, as a user
// sets it up: a folder with a tandem.yaml and an environment.
type deployment struct {
	dir    string
	env    []string
	listen string
	driver string // to read the database ourselves
	dsn    string
}

// run is what `tandem sync -o json` and `tandem runs show -o json` print, as
// far as these tests look at it.
type run struct {
	ID        int64
	Status    string
	Mode      string
	Read      int64
	Created   int64
	Updated   int64
	Deleted   int64
	Unchanged int64
	Skipped   int64
	Parked    int64
	Error     any
}

// embedded sets Tandem up with SQLite and nothing else.
func embedded(t *testing.T, s *Server, edits ...string) *deployment {
	t.Helper()
	return embeddedFrom(t, s, "tandem.yaml", edits...)
}

func embeddedFrom(t *testing.T, s *Server, name string, edits ...string) *deployment {
	t.Helper()
	d := deploy(t, s, name, edits...)
	file := filepath.Join(d.dir, "tandem.db")
	d.env = append(d.env, "TANDEM_DATABASE=sqlite:"+file)
	d.driver, d.dsn = "sqlite", "file:"+file+"?mode=ro&_pragma=busy_timeout(5000)"
	return d
}

// fleet sets Tandem up with PostgreSQL and RabbitMQ; the contacts table exists
// beforehand, with a column that Tandem does not know.
func fleet(t *testing.T, s *Server, edits ...string) *deployment {
	t.Helper()
	postgres, amqp := freshServers(t)
	return fleetOn(t, s, "tandem.yaml", postgres, amqp, edits...)
}

func fleetOn(t *testing.T, s *Server, name, postgres, amqp string, edits ...string) *deployment {
	t.Helper()
	d := deploy(t, s, name, edits...)
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	d.env = append(d.env, "TANDEM_DATABASE="+postgres, "TANDEM_BROKER="+amqp,
		"TANDEM_SECRET_KEY="+base64.StdEncoding.EncodeToString(key))
	d.driver, d.dsn = "postgres", postgres
	d.query(t, func(db *sql.DB) error {
		_, err := db.ExecContext(t.Context(), `CREATE TABLE contacts (
			id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL UNIQUE, first_name text, last_name text,
			phone text, company text, score numeric(12,2), active boolean, birthday date, tags jsonb,
			note text NOT NULL DEFAULT 'ours')`)
		return err
	})
	d.tandem(t, nil, "migrate")
	d.tandem(t, nil, "apply")
	return d
}

// deploy writes the named file of the example, with edits made to it as pairs of old and
// new text.
func deploy(t *testing.T, s *Server, name string, edits ...string) *deployment {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(example, name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(file)
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			t.Fatalf("the example's %s does not contain %q", name, edits[i])
		}
		text = strings.Replace(text, edits[i], edits[i+1], 1)
	}
	port, err := freePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d := &deployment{dir: t.TempDir(), listen: "127.0.0.1:" + port}
	d.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + d.dir, "TMPDIR=" + os.TempDir(), "TANDEM_LISTEN=" + d.listen,
		"POCKETBASE_URL=" + s.URL, "POCKETBASE_TOKEN=" + s.Token,
	}
	if err := os.WriteFile(filepath.Join(d.dir, "tandem.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

// tandem runs one command to its end; into, when given, gets its JSON.
func (d *deployment) tandem(t *testing.T, into any, args ...string) {
	t.Helper()
	out, err := d.try(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(out, into); err != nil {
			t.Fatalf("tandem %s: %v in %s", strings.Join(args, " "), err, out)
		}
	}
}

func (d *deployment) try(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, built.tandem, args...)
	cmd.Dir, cmd.Env = d.dir, d.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("tandem %s: %w\n%.2000s\n%.4000s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.Bytes(), nil
}

// sync runs `tandem sync` and waits for its end.
func (d *deployment) sync(t *testing.T, args ...string) run {
	t.Helper()
	var r run
	d.tandem(t, &r, append([]string{"sync", "pocketbase", "-o", "json", "--wait"}, args...)...)
	t.Logf("sync %v: %+v", args, r)
	if r.Status != "finished" || r.Parked != 0 {
		t.Fatalf("sync %v: %+v", args, r)
	}
	return r
}

func (d *deployment) show(t *testing.T, id int64) run {
	t.Helper()
	var r run
	d.tandem(t, &r, "runs", "show", fmt.Sprint(id), "-o", "json")
	return r
}

// process is a `tandem run` in the background.
type process struct {
	cmd  *exec.Cmd
	done chan error
	log  string
}

// serve starts `tandem run`; it is ended by SIGTERM with the test, and must
// then end cleanly, unless the test has killed it. A process with --roles worker
// listens at an address of its own, for its health.
func (d *deployment) serve(t *testing.T, args ...string) *process {
	t.Helper()
	env := d.env
	if slices.Contains(args, "worker") {
		port, err := freePort(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		env = append(slices.Clone(env), "TANDEM_LISTEN=127.0.0.1:"+port)
	}
	f, err := os.CreateTemp(d.dir, "run-*.log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := &process{cmd: exec.Command(built.tandem, append([]string{"run"}, args...)...), done: make(chan error, 1), log: f.Name()}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = d.dir, env, f, f
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() { p.end(t) })
	return p
}

func (p *process) end(t *testing.T) {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.done:
		if err != nil {
			t.Errorf("tandem run did not end cleanly: %v", err)
		}
	case <-time.After(70 * time.Second):
		t.Error("tandem run did not end within 70 s of SIGTERM")
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	p.cmd = nil
	if t.Failed() {
		b, _ := os.ReadFile(p.log)
		t.Logf("log of tandem run:\n%.20000s", b)
	}
}

// kill ends it as a power cut would.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.done
	p.cmd = nil
}

// ready waits until the service says that it is.
func (d *deployment) ready(t *testing.T) {
	t.Helper()
	eventually(t, time.Minute, "/readyz answers 200", func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.listen+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// query gives fn the database by a connection of our own.
func (d *deployment) query(t *testing.T, fn func(db *sql.DB) error) {
	t.Helper()
	db, err := sql.Open(d.driver, d.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := fn(db); err != nil {
		t.Fatal(err)
	}
}

// count gives the number of contacts that have arrived, 0 while there is no table.
func (d *deployment) count(t *testing.T) (n int) {
	t.Helper()
	db, err := sql.Open(d.driver, d.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if db.QueryRowContext(t.Context(), "SELECT count(*) FROM contacts").Scan(&n) != nil {
		return 0
	}
	return n
}

func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

func cut(line string) (name, value string) {
	name, value, _ = strings.Cut(line, "=")
	return name, value
}
