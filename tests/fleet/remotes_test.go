package fleet

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/internal/demo"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/transport/transporttest"
)

// badRemote is one way in which a remote fails a `tandem sync crm`.
type badRemote struct {
	// steps answer the listing's requests; the last one stays. nil lets the
	// remote itself answer.
	steps []transporttest.Step
	// edits change the configuration.
	edits []string
	code  string        // of the run's error
	says  string        // part of the message or hint
	rows  int64         // that stay, committed before the failure
	most  time.Duration // it may take; 0 is patience
}

// patience is more than a remote is given that goes down on the way: four calls
// each time, and six times with growing pauses.
const patience = 100 * time.Second

const onePage = `{"items":[{"id":"a1","email":"a1@example.com","name":"A","phone":"1","address":{"city":"B"},"birthday":"2000-01-02","orders":1,"updated":"2026-01-01T00:00:00Z"}],"total":3}`

// elsewhere is a server that must never be asked.
func elsewhere(t *testing.T) *transporttest.Server {
	t.Helper()
	s := transporttest.New(t, nil)
	t.Cleanup(func() {
		if seen := s.Seen(); len(seen) > 0 {
			t.Errorf("a redirect to another host was followed: %+v", seen)
		}
	})
	return s
}

func badRemotes(t *testing.T) map[string]badRemote {
	step := func(s ...transporttest.Step) []transporttest.Step { return s }
	base := func(address string) []string { return []string{"base_url: %q", fmt.Sprintf("base_url: %q", address)} }
	secure, _ := transporttest.NewTLS(t, transporttest.Certificate{}, nil)
	other := strings.Replace(elsewhere(t).URL, "127.0.0.1", "localhost", 1)
	first := transporttest.JSON(onePage)
	return map[string]badRemote{
		"refused":           {edits: base("http://127.0.0.1:" + freePort(t)), code: "unreachable", says: "refused"},
		"no such name":      {edits: base("https://no-such-host.invalid"), code: "unreachable", says: "no-such-host.invalid"},
		"unknown authority": {edits: base(secure.URL), code: "", says: "certificate"},
		"TLS on plain HTTP": {edits: base("https://" + strings.TrimPrefix(transporttest.New(t, nil).URL, "http://")), says: "TLS"},
		"401":               {steps: step(transporttest.Status(401)), code: "auth", most: 10 * time.Second},
		"403":               {steps: step(transporttest.Status(403)), code: "auth", most: 10 * time.Second},
		"404":               {steps: step(transporttest.Status(404)), code: "not_found", most: 10 * time.Second},
		"500":               {steps: step(transporttest.Status(500)), says: "500"},
		"500 later":         {steps: step(first, transporttest.Status(500)), says: "500", rows: 1},
		"slow body":         {steps: step(transporttest.Slow(onePage, 100*time.Millisecond)), edits: []string{"timeout: 20s", "timeout: 500ms"}, says: "500ms"},
		"no answer":         {steps: step(transporttest.Stall()), edits: []string{"timeout: 20s", "timeout: 500ms"}, says: "500ms"},
		"truncated":         {steps: step(transporttest.Truncated(onePage, 100)), code: "bad_answer"},
		"truncated later":   {steps: step(first, transporttest.Truncated(onePage, 100)), code: "bad_answer", rows: 1},
		"cut without sign":  {steps: step(transporttest.CloseDelimited(onePage, 100)), code: "bad_answer"},
		"HTML with 200":     {steps: step(transporttest.HTML()), code: "bad_answer", says: "HTML"},
		"same page for ever": {
			steps: step(first), edits: []string{", total_at: total", ""}, code: "", says: "page", rows: 1,
		},
		"redirect to another host": {steps: step(transporttest.Redirect(302, other+"/contacts")), edits: []string{"concurrency: 4", "concurrency: 4, token: " + canaryToken}, says: "redirect", most: 10 * time.Second},
	}
}

// TestBadRemotes: each ends `tandem sync` with exit code 1 and a clear error,
// and leaves either whole pages or nothing.
func TestBadRemotes(t *testing.T) {
	t.Parallel()
	for name, c := range badRemotes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nasty := transporttest.New(t, demo.New(demo.Options{Contacts: 50, Broken: -1, Refuse: -1, Seed: 20}))
			if c.steps != nil {
				nasty.Handle("/contacts", c.steps...)
			}
			edits := c.edits
			if len(edits) > 0 && edits[0] == "base_url: %q" {
				edits = append([]string{fmt.Sprintf("base_url: %q", nasty.URL)}, edits[1:]...)
			}
			w := newWorld(t, "", "embedded", &remote{url: nasty.URL}, edits...)
			r := w.tandem("sync", "crm", "-o", "json")
			var run api.Run
			if err := json.Unmarshal([]byte(strings.TrimSpace(r.out)), &run); err != nil {
				t.Fatalf("%v in %q (%s)", err, r.out, r.errors)
			}
			if r.code != 1 || run.Status != store.StatusFailed || run.Error == nil {
				t.Fatalf("exit code %d, run %s, error %+v", r.code, run.Status, run.Error)
			}
			e := run.Error
			t.Logf("after %v: %s: %s (%s)", r.took.Round(time.Second/10), e.Code, e.Message, e.Hint)
			if e.Code == "" || e.Code == "failed" || c.code != "" && e.Code != c.code || e.Hint == "" {
				t.Errorf("code %q, want %q, hint %q", e.Code, c.code, e.Hint)
			}
			if !strings.Contains(e.Message+" "+e.Hint, c.says) {
				t.Errorf("the error does not say %q: %s (%s)", c.says, e.Message, e.Hint)
			}
			most := c.most
			if most == 0 {
				most = patience
			}
			if r.took > most {
				t.Errorf("it took %v", r.took)
			}
			if n := w.number("SELECT count(*) FROM contacts"); n != c.rows || run.Created != n || run.Read != n {
				t.Errorf("%d rows, want %d; the run says read %d, created %d", n, c.rows, run.Read, run.Created)
			}
			if n := w.number("SELECT count(*) FROM tandem_watermark"); n != 0 {
				t.Error("a failed run moved the watermark")
			}
			if len(nasty.Leaks(canaryToken)) != len(nasty.Seen()) && name == "redirect to another host" {
				t.Error("the token was not sent where it belongs: this test proves nothing")
			}
		})
	}
}

// TestOutsideNetworkAllow: an address outside of network.allow is found in the
// file, and where the channel comes from the database, refused before it is
// dialled.
func TestOutsideNetworkAllow(t *testing.T) {
	t.Parallel()
	r := newRemote(t, demo.Options{Contacts: 20, Seed: 22})
	w := newWorld(t, "", "embedded", r)
	w.must("sync", "crm") // stores the channel
	w.configure(fmt.Sprintf("database: %q\nnetwork: {allow: [10.0.0.0/8]}\n", w.database))
	calls, _ := r.Calls()
	res := w.tandem("sync", "crm", "--full", "-o", "json")
	var run api.Run
	if err := json.Unmarshal([]byte(strings.TrimSpace(res.out)), &run); err != nil {
		t.Fatalf("%v in %q (%s)", err, res.out, res.errors)
	}
	if res.code != 1 || run.Error == nil || run.Error.Code != "config" || !strings.Contains(run.Error.Message+run.Error.Hint, "network.allow") {
		t.Errorf("exit code %d, error %+v", res.code, run.Error)
	}
	if n, _ := r.Calls(); n != calls {
		t.Errorf("%d calls came through", n-calls)
	}
	if n := w.number("SELECT count(*) FROM contacts"); n != 20 {
		t.Errorf("%d rows, want the 20 from before", n)
	}
	refused := newWorld(t, "", "embedded", r, "allow: [127.0.0.0/8]", "allow: [10.0.0.0/8]")
	if f := refused.fails(2, "config", "sync", "crm"); !strings.Contains(f.Error.Message, "network.allow") || !strings.Contains(f.Error.Where, "tandem.yaml:") {
		t.Errorf("the file is refused with %+v", f.Error)
	}
}

// TestTooManyRequests: 429 is no failure. The run waits as long as it is told,
// says so, and goes on.
func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	for name, header := range map[string][]string{"with Retry-After": {"Retry-After", "4"}, "without": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nasty := transporttest.New(t, demo.New(demo.Options{Contacts: 250, Broken: -1, Refuse: -1, Seed: 21}))
			w := newWorld(t, "", "embedded", &remote{url: nasty.URL})
			nasty.Inject(transporttest.Status(http.StatusTooManyRequests, header...))
			p := w.service()
			run := w.begin(`{}`)
			if header != nil {
				until(t, 10*time.Second, "the run to wait", func() bool {
					x := w.show(run.ID)
					return x.Waiting != nil && strings.HasPrefix(x.Waiting.Reason, "rate_limited") && x.Waiting.Until != nil
				})
				if n := len(nasty.Seen()); n != 1 {
					t.Errorf("%d requests, although the remote asked to wait 4 s", n)
				}
			}
			began := time.Now()
			w.counted(w.finished(run.ID), 250, 250)
			t.Logf("%s: done after %v", name, time.Since(began).Round(time.Second/10))
			p.alive()
		})
	}
}
