package fleet

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/internal/demo"
	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/store"
)

// world is a Tandem set up by a user: a folder with a tandem.yaml, a database,
// a broker and one remote.
type world struct {
	t        *testing.T
	dir      string
	env      []string
	database string // as in the configuration
	broker   string
	listen   string
	token    string // of the API
	remote   *remote
}

// file is the configuration: %s database, broker, key column, base address.
const file = `database: %q
broker: %q
network: {allow: [127.0.0.0/8]}
workers: {sync: 2, reverse_sync: 1, lease: 3s}
entities:
  contacts:
    table: contacts
    key: id
    create:
      id: %s
      crm_id: text not null unique
      email: text not null unique
      name: text not null
      phone: text
      city: text
      birthday: text
      orders: integer
channels:
  - name: crm
    type: rest
    transport: {base_url: %q, concurrency: 4, timeout: 20s}
    schedule: "off"
    connectors:
      - name: contacts
        entity: contacts
        delete: {local: delete}
        mapping:
          - {local: crm_id, remote: id}
          - {local: email, remote: email}
          - {local: name, remote: name}
          - {local: phone, remote: phone}
          - {local: city, remote: address.city}
          - {local: birthday, remote: birthday, type: date}
          - {local: orders, remote: orders, type: integer}
        remote:
          list:
            path: /contacts
            records: items
            page: {by: page, param: page, size_param: per_page, size: 100, total_at: total}
            since: {query: "updated_since={time}", format: rfc3339}
          id: id
          modified: updated
          deleted: {path: /contacts/deleted, records: ids}
          get: {path: "/contacts/{id}", record: ""}
`

// newWorld writes the configuration; edits are pairs of old and new text.
func newWorld(t *testing.T, database, broker string, r *remote, edits ...string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), database: database, broker: broker, listen: "127.0.0.1:" + freePort(t), token: "token-of-this-test", remote: r}
	key := "integer primary key"
	if strings.HasPrefix(database, "postgres:") {
		key = "bigint generated always as identity primary key"
	} else if database == "" {
		w.database = "sqlite:" + filepath.Join(w.dir, "tandem.db")
	}
	text := fmt.Sprintf(file, w.database, broker, key, r.url)
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			t.Fatalf("the configuration does not contain %q", edits[i])
		}
		text = strings.Replace(text, edits[i], edits[i+1], 1)
	}
	w.configure(text)
	w.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "TMPDIR=" + w.dir,
		"TANDEM_LISTEN=" + w.listen, "TANDEM_API_TOKEN=" + w.token,
	}
	if database != "" {
		secret := make([]byte, 32)
		_, _ = rand.Read(secret)
		w.env = append(w.env, "TANDEM_SECRET_KEY="+base64.StdEncoding.EncodeToString(secret))
	}
	return w
}

// configure writes the configuration file.
func (w *world) configure(text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, "tandem.yaml"), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// newFleet is a world with PostgreSQL and RabbitMQ of its own, migrated and
// applied, and nothing running.
func newFleet(t *testing.T, o demo.Options, edits ...string) *world {
	t.Helper()
	return newFleetOn(t, newRemote(t, o), edits...)
}

func newFleetOn(t *testing.T, r *remote, edits ...string) *world {
	t.Helper()
	w := newWorld(t, testenv.Postgres(t), testenv.RabbitMQ(t), r, edits...)
	w.must("migrate")
	w.must("apply")
	return w
}

// newEmbedded is a world with SQLite and nothing else.
func newEmbedded(t *testing.T, o demo.Options, edits ...string) *world {
	t.Helper()
	return newWorld(t, "", "embedded", newRemote(t, o), edits...)
}

// nextPort is where freePort looks next: below the ports that the system hands
// out by itself, which a connection of another test may take at any moment.
var nextPort atomic.Int32

func init() { nextPort.Store(int32(12000 + os.Getpid()%8000)) }

// freePort gives a port of this machine that nobody listens at, each time
// another one.
func freePort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		port := strconv.Itoa(int(nextPort.Add(1)))
		if l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:"+port); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("there is no free port")
	return ""
}

// worker starts a process with the role worker and waits until it is ready.
func (w *world) worker() *process {
	w.t.Helper()
	port := freePort(w.t)
	p := w.spawn(binary, "run", "--roles", "worker", "--health", "127.0.0.1:"+port)
	w.ready(p, "127.0.0.1:"+port)
	return p
}

// control starts the process with all the other roles.
func (w *world) control() *process {
	w.t.Helper()
	p := w.spawn(binary, "run", "--roles", "scheduler,relay,web")
	w.ready(p, w.listen)
	return p
}

// service starts an embedded service.
func (w *world) service() *process {
	w.t.Helper()
	p := w.spawn(binary, "run")
	w.ready(p, w.listen)
	return p
}

func (w *world) ready(p *process, address string) {
	w.t.Helper()
	until(w.t, time.Minute, p.name+" to get ready", func() bool {
		p.alive()
		code, _ := call(w.t, http.MethodGet, "http://"+address+"/readyz", "", "")
		return code == http.StatusOK
	})
}

// call makes one HTTP request; status 0 means that nobody answered.
func call(t *testing.T, method, url, token, body string) (int, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	var raw json.RawMessage
	_ = json.NewDecoder(res.Body).Decode(&raw) // a health answer may be text
	return res.StatusCode, raw
}

// ask calls the API and decodes its answer into out, which may be nil.
func (w *world) ask(method, path, body string, out any) int {
	w.t.Helper()
	token := w.token
	if name, ok := strings.CutPrefix(w.database, "sqlite:"); ok {
		// Where no token is set, the lock file has one.
		if info, held, err := store.ReadLock(name); err == nil && held && info.Token != "" {
			token = info.Token
		}
	}
	code, raw := call(w.t, method, "http://"+w.listen+"/api/v1/"+path, token, body)
	if out != nil && code < 300 && code > 0 {
		if err := json.Unmarshal(raw, out); err != nil {
			w.t.Fatalf("%s %s: %v in %s", method, path, err, raw)
		}
	}
	return code
}

// begin starts a run over the API.
func (w *world) begin(body string) api.Run {
	w.t.Helper()
	var r api.Run
	if code := w.ask(http.MethodPost, "channels/crm/sync", body, &r); code != http.StatusAccepted {
		w.t.Fatalf("sync: status %d", code)
	}
	return r
}

// show gives a run as the API shows it.
func (w *world) show(id int64) api.Run {
	w.t.Helper()
	var r api.Run
	w.ask(http.MethodGet, fmt.Sprintf("runs/%d", id), "", &r)
	return r
}

// runs gives all runs, the newest first.
func (w *world) runs() []api.Run {
	w.t.Helper()
	var list struct{ Runs []api.Run }
	w.ask(http.MethodGet, "runs", "", &list)
	return list.Runs
}

// hanging is how long a run may take before it counts as hanging: on a busy
// machine retries add up, and the longest pause between two is five minutes.
const hanging = 6 * time.Minute

// finished waits until the run has ended and wants it finished.
func (w *world) finished(id int64) api.Run {
	w.t.Helper()
	var r api.Run
	for end := time.Now().Add(hanging); ; time.Sleep(30 * time.Millisecond) {
		if r = w.show(id); r.Status.Ended() {
			break
		}
		if time.Now().After(end) {
			w.t.Fatalf("run %d does not end; it is %+v", id, r)
		}
	}
	if r.Status != store.StatusFinished {
		w.t.Fatalf("run %d %s: %+v", id, r.Status, r.Error)
	}
	return r
}

// reached waits until the run has committed exactly n records and the remote
// holds its next page back.
func (w *world) reached(id, n int64) {
	w.t.Helper()
	until(w.t, time.Minute, fmt.Sprintf("run %d to commit %d records", id, n), func() bool {
		return w.remote.held() && w.show(id).Read == n
	})
}
