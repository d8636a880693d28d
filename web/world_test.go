package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/seal"
	"github.com/tandem-sync/tandem/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "a-token-for-tests"

// evil is what a remote may call its things. None of it may become markup.
const evil = `<script>document.title="owned"</script><img src=x onerror='document.title="owned"'>"'` + "\u202egnp.exe"

type fleet struct{ stages []api.TestStage }

func (fleet) Kick() {}

func (f fleet) TestChannel(context.Context, string) ([]api.TestStage, error) { return f.stages, nil }

// world is a real store on SQLite behind the whole HTTP side, and a browser's
// jar of cookies.
type world struct {
	tb     testing.TB
	db     *store.DB
	pages  *web.Pages
	url    string
	http   *http.Client
	crm    int64
	clock  *clock.Offset
	parked int64 // an item with evil texts
}

func newWorld(t testing.TB, secret string) *world {
	t.Helper()
	ctx := context.Background()
	db, err := store.Open(ctx, store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "t.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := db.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	w := &world{tb: t, db: db, clock: &clock.Offset{Clock: clock.System{}}}
	w.fill()
	backend := api.NewService(db, fleet{[]api.TestStage{
		{Stage: "name", OK: true, Message: "found"}, {Stage: "auth", Message: "401 " + evil, Hint: "renew the token"},
	}}, nil)
	w.pages = web.New(web.Config{Backend: backend, Token: secret, Version: "test", Clock: w.clock})
	srv := httptest.NewServer(api.NewServer(api.ServerConfig{
		Backend: backend, Token: secret, Loopback: true, Version: "test", Pages: w.pages, Rate: -1,
	}).Handler())
	t.Cleanup(srv.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.url, w.http = srv.URL, srv.Client()
	w.http.Jar = jar
	w.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return w
}

// fill stores two channels, runs in several states and parked items.
func (w *world) fill() {
	keys, err := seal.New(seal.NewKey())
	if err != nil {
		w.tb.Fatal(err)
	}
	settings, err := json.Marshal(map[string]any{"transport": map[string]any{
		"base_url": "https://crm.example.com", "token": keys.Seal("s3cret", "channel/crm/transport.token"), "note": evil,
	}})
	if err != nil {
		w.tb.Fatal(err)
	}
	w.write(func(ctx context.Context, tx *store.Tx) error {
		for _, name := range []string{"crm", "shop"} {
			id, _, _, err := tx.PutChannel(ctx, store.Channel{Name: name, Type: "rest", Enabled: true, Managed: "file", Settings: settings})
			if err != nil {
				return err
			}
			cons, err := tx.PutConnectors(ctx, id, []store.Connector{{Name: "contacts", Ord: 0}, {Name: "companies", Ord: 1}})
			if err != nil {
				return err
			}
			if name == "crm" {
				w.crm = id
				if err := tx.SetBreaker(ctx, id, time.Minute, "five failures in a row: "+evil); err != nil {
					return err
				}
			}
			if _, err := tx.AddConflicts(ctx, []store.Conflict{disputed(id, cons[0].ID, "email"), disputed(id, cons[0].ID, evil)}); err != nil {
				return err
			}
			if err := w.history(ctx, tx, id, cons); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *world) history(ctx context.Context, tx *store.Tx, channel int64, cons []store.Connector) error {
	for i, status := range []store.Status{store.StatusFinished, store.StatusFailed, store.StatusExecution} {
		run, _, _, err := tx.AddRequest(ctx, store.Request{ChannelID: channel, Trigger: store.TriggerManual, Spec: store.Spec{Kind: store.KindSync, Mode: store.ModeFull}}, false)
		if err != nil {
			return err
		}
		if _, err := tx.StartRun(ctx, run.ID, []store.Slice{{RunID: run.ID, ChannelID: channel, ConnectorID: cons[0].ID, Connector: cons[0].Name}}); err != nil {
			return err
		}
		list, err := tx.Slices(ctx, run.ID)
		if err != nil {
			return err
		}
		total := int64(12_000)
		if err := tx.CommitSlice(ctx, store.SliceStep{
			SliceID: list[0].ID, Expected: 0, Next: 1, Position: json.RawMessage(`{}`), Total: &total,
			Add: store.Counters{Read: 7500, Created: 7000, Unchanged: 499, Parked: 1},
		}); err != nil {
			return err
		}
		if err := tx.AddChanges(ctx, run.ID, []store.Change{{
			Connector: "contacts", Side: "local", Op: "update", RemoteID: evil, LocalID: "7",
			Fields: []store.FieldChange{{Field: evil, Old: json.RawMessage(`null`), New: json.RawMessage(`"<b>x</b>"`), Winner: "right", Reason: "changed"}},
		}}); err != nil {
			return err
		}
		if i == 0 {
			if _, err := tx.Park(ctx, []store.Parked{{
				Kind: store.ParkedRecord, ChannelID: channel, ConnectorID: cons[0].ID, RunID: run.ID, RemoteID: evil, Reason: "bad_value",
				Message: "birthday: " + evil, Payload: json.RawMessage(`{"name":"<script>alert(1)</script>"}`),
			}, {
				Kind: store.ParkedMassDelete, ChannelID: channel, ConnectorID: cons[0].ID, RunID: run.ID, Reason: "mass_delete", Message: "350 of 1,000 records are gone",
			}}); err != nil {
				return err
			}
		}
		if status.Ended() {
			var cause *store.RunError
			if status == store.StatusFailed {
				cause = &store.RunError{Code: "auth", Message: "401 " + evil, Hint: "renew the token"}
			}
			if _, err := tx.FinishRun(ctx, run.ID, status, cause); err != nil {
				return err
			}
		}
	}
	list, err := tx.ListParked(ctx, store.ParkedFilter{Kind: store.ParkedRecord, Open: true, Limit: 1})
	if err == nil && len(list) == 1 {
		w.parked = list[0].ID
	}
	return err
}

func (w *world) write(fn func(context.Context, *store.Tx) error) {
	w.tb.Helper()
	if err := w.db.Write(context.Background(), "test", fn); err != nil {
		w.tb.Fatal(err)
	}
}

// reply is an answer without its body.
type reply struct {
	StatusCode int
	Header     http.Header
	Cookies    []*http.Cookie
}

// do sends a request as a browser on the page itself would.
func (w *world) do(method, path string, form url.Values, change ...func(*http.Request)) (reply, string) {
	w.tb.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, w.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		w.tb.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for _, c := range change {
		c(req)
	}
	res, err := w.http.Do(req)
	if err != nil {
		w.tb.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		w.tb.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, res.Cookies()}, string(b)
}

// get gives a page that must be there.
func (w *world) get(path string) string {
	w.tb.Helper()
	res, body := w.do(http.MethodGet, path, nil)
	if res.StatusCode != http.StatusOK {
		w.tb.Fatalf("GET %s: %d %s to %q", path, res.StatusCode, body, res.Header.Get("Location"))
	}
	return body
}

// goes posts a form and gives where it leads.
func (w *world) goes(path string, form url.Values) string {
	w.tb.Helper()
	res, body := w.do(http.MethodPost, path, form)
	if res.StatusCode != http.StatusSeeOther {
		w.tb.Fatalf("POST %s: %d %s", path, res.StatusCode, body)
	}
	return res.Header.Get("Location")
}

func (w *world) signIn() {
	w.tb.Helper()
	if to := w.goes("/login", url.Values{"token": {token}}); to != "/" {
		w.tb.Fatalf("after signing in: %q", to)
	}
}

func contains(t *testing.T, what, body string, want ...string) {
	t.Helper()
	for _, s := range want {
		if !strings.Contains(body, s) {
			t.Errorf("%s does not say %q:\n%.3000s", what, s, body)
		}
	}
}

const minute = time.Minute
