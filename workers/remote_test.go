package workers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/channels/rest"
	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/messages/embedded"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/seal"
	"github.com/tandem-sync/tandem/transport"
	"github.com/tandem-sync/tandem/transport/transporttest"
)

// site is a database with channels as a file configures them.
type site struct {
	t    *testing.T
	db   *store.DB
	keys *seal.Keyring
	reg  *channels.Registry
	// another opens the database once more, as another process would.
	another func() *store.DB
	key     string // the declaration of a generated key
}

// onEachSite runs a test on either database, with these options of the channels.
func onEachSite(t *testing.T, test func(s *site), opts ...transport.Option) {
	t.Helper()
	for _, kind := range []string{"SQLite", "PostgreSQL"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			address := "sqlite:" + t.TempDir() + "/t.db"
			if kind == "PostgreSQL" {
				address = testenv.Postgres(t)
			}
			s := &site{t: t, reg: &channels.Registry{}, key: "integer primary key"}
			s.another = func() *store.DB { return s.open(address) }
			s.db = s.another()
			if kind == "SQLite" { // one process, one writer
				s.another = func() *store.DB { return s.db }
			} else {
				s.key = "bigint generated always as identity primary key"
			}
			var err error
			if s.keys, err = seal.New(seal.NewKey()); err != nil {
				t.Fatal(err)
			}
			if err := s.reg.Register(rest.Type{Options: opts}); err != nil {
				t.Fatal(err)
			}
			test(s)
		})
	}
}

func (s *site) open(address string) *store.DB {
	s.t.Helper()
	db, err := store.Open(s.t.Context(), store.Config{URL: address})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := db.Close(); err != nil {
			s.t.Error(err)
		}
	})
	if err := db.Migrate(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	return db
}

func (s *site) apply(text string) {
	s.t.Helper()
	text = "network: {allow: [127.0.0.0/8]}\n" + strings.ReplaceAll(text, "KEY", s.key)
	file, problems := config.Parse("tandem.yaml", []byte(text), func(string) (string, bool) { return "", false })
	problems = append(problems, file.Check(s.reg)...)
	if err := problems.Err(); err != nil {
		s.t.Fatal(err)
	}
	if _, err := Apply(s.t.Context(), s.db, s.keys, s.reg, file); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) config(db *store.DB, owner string) Config {
	return Config{DB: db, Registry: s.reg, Keys: s.keys, Guard: transporttest.Guard(), Owner: owner}
}

// work runs a worker with everything it needs until the test ends.
func (s *site) work(edits ...func(*Config)) *Fleet {
	s.t.Helper()
	cfg := s.config(s.db, "worker")
	broker := embedded.New(embedded.Config{})
	cfg.Broker, cfg.Embedded, cfg.Roles = broker, true, Roles{Worker: true, Relay: true}
	for _, edit := range edits {
		edit(&cfg)
	}
	f, err := NewFleet(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, broker.Close()); err != nil {
			s.t.Error(err)
		}
	})
	return f
}

func (s *site) write(fn func(ctx context.Context, tx *store.Tx) error) {
	s.t.Helper()
	if err := s.db.Write(s.t.Context(), "test", fn); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) channel() (ch store.Channel) {
	s.t.Helper()
	s.write(func(ctx context.Context, tx *store.Tx) (err error) {
		ch, err = tx.ChannelByName(ctx, "crm")
		return err
	})
	return ch
}

// sync asks for a run of the channel.
func (s *site) sync(f *Fleet, mode store.Mode) (run store.Run) {
	s.t.Helper()
	id := s.channel().ID
	s.write(func(ctx context.Context, tx *store.Tx) (err error) {
		run, _, _, err = tx.AddRequest(ctx, store.Request{ChannelID: id, Spec: store.Spec{Kind: store.KindSync, Mode: mode}}, false)
		return err
	})
	f.Kick()
	return run
}

// moment is a run as it stands.
type moment struct {
	run    store.Run
	word   string
	reason string
	until  *time.Time
	slices []store.Slice
	count  store.Counters
}

func (s *site) look(id int64) (m moment) {
	s.t.Helper()
	err := s.db.Read(s.t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
		if m.run, err = tx.Run(ctx, id); err != nil {
			return err
		}
		if m.reason, m.until, err = tx.Waiting(ctx, m.run); err != nil {
			return err
		}
		m.word = store.WaitWord(m.reason)
		if m.count, _, _, err = tx.RunCounters(ctx, id); err != nil {
			return err
		}
		m.slices, err = tx.Slices(ctx, id)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// await looks until ok, for at most a minute and a half.
func (s *site) await(what string, id int64, ok func(moment) bool) moment {
	s.t.Helper()
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		m := s.look(id)
		if ok(m) {
			return m
		}
		if time.Now().After(end) || m.run.Status == store.StatusFailed {
			s.t.Fatalf("%s: the run is %s, waiting %q until %v, error %+v", what, m.run.Status, m.reason, m.until, m.run.Error)
		}
	}
}

func waits(word string) func(moment) bool { return func(m moment) bool { return m.word == word } }

func ended(m moment) bool { return m.run.Status.Ended() }

// due lets a slice that waits go on at once.
func (s *site) due(f *Fleet, id int64) {
	s.t.Helper()
	s.write(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.EndSlice(ctx, id, store.SliceActive, nil, "")
		return err
	})
	f.Kick()
}

const contactsFile = `
entities:
  contacts: {table: contacts, key: id, create: {id: KEY, email: text}}
channels:
  - name: crm
    type: rest
    schedule: "off"
    transport: {base_url: %q%s}
    operations: [{name: ping, path: /ping}]
    connectors:
      - name: contacts
        entity: contacts
        match: [[email]]
        remote: {list: {path: /contacts, records: items, page: {by: page, param: page}}, id: id}
        mapping: [{local: email, remote: email}]
`

// pages serves two pages of one contact each and whatever trouble says first.
func pages(trouble func(page string) transporttest.Step) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page := r.URL.Query().Get("page")
		if step := trouble(page); step != nil {
			step(w, r)
			return
		}
		switch page {
		case "1", "2":
			transporttest.JSON(fmt.Sprintf(`{"items":[{"id":"c%s","email":"c%s@example.com"}]}`, page, page))(w, r)
		default:
			transporttest.JSON(`{"items":[]}`)(w, r)
		}
	})
}

func TestAQuotaPausesARunAndKeepsItsPosition(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		t := s.t
		var limited atomic.Bool
		limited.Store(true)
		srv := transporttest.New(t, pages(func(page string) transporttest.Step {
			if page == "2" && limited.Load() {
				return transporttest.Status(http.StatusTooManyRequests, "Retry-After", "1800")
			}
			return nil
		}))
		s.apply(fmt.Sprintf(contactsFile, srv.URL, ""))
		f := s.work()
		first, second := s.sync(f, store.ModeFull), s.sync(f, store.ModeFull)
		m := s.await("the pause", first.ID, waits(store.WaitQuota))
		if m.until == nil || time.Until(*m.until) < 25*time.Minute || time.Until(*m.until) > 31*time.Minute || !strings.Contains(m.reason, "429") {
			t.Errorf("%q until %v", m.reason, m.until)
		}
		if m.run.Status != store.StatusExecution || m.slices[0].Attempts != 0 || m.count.Read != 1 || m.slices[0].BatchNo < 1 {
			t.Errorf("%s, %d attempts, batch %d, %+v", m.run.Status, m.slices[0].Attempts, m.slices[0].BatchNo, m.count)
		}
		if w := s.look(second.ID); w.reason != fmt.Sprintf("run_ahead: run %d of this channel comes first", first.ID) || w.until != nil {
			t.Errorf("the run behind it waits %q until %v", w.reason, w.until)
		}
		limited.Store(false)
		s.due(f, m.slices[0].ID)
		m = s.await("the end", first.ID, ended)
		if m.run.Status != store.StatusFinished || m.count.Read != 2 || m.count.Created != 2 {
			t.Errorf("%s %+v %+v", m.run.Status, m.count, m.run.Error)
		}
		once := 0
		for _, r := range srv.Seen() {
			if r.Query == "page=1" {
				once++
			}
		}
		s.await("the run behind it", second.ID, ended)
		if once > 2 { // the second run's may be among them
			t.Errorf("the first page was read %d times", once)
		}
	})
}

func TestShortLimitsAndFailuresAreNamed(t *testing.T) {
	t.Parallel()
	for word, step := range map[string]transporttest.Step{
		store.WaitRateLimited: transporttest.Status(http.StatusTooManyRequests, "Retry-After", "60"),
		store.WaitRetry:       transporttest.Status(http.StatusServiceUnavailable, "Retry-After", "60"),
	} {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			onEachSite(t, func(s *site) {
				srv := transporttest.New(s.t, pages(func(string) transporttest.Step { return step }))
				s.apply(fmt.Sprintf(contactsFile, srv.URL, ""))
				m := s.await(word, s.sync(s.work(), store.ModeFull).ID, waits(word))
				if m.until == nil || time.Until(*m.until) < 50*time.Second || time.Until(*m.until) > 61*time.Second {
					s.t.Errorf("until %v", m.until)
				}
				if tries := m.slices[0].Attempts; (tries == 1) != (word == store.WaitRetry) {
					s.t.Errorf("%d attempts", tries)
				}
			})
		})
	}
}

func TestBusyConnectorSaysUntilWhen(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		srv := transporttest.New(s.t, pages(func(string) transporttest.Step { return nil }))
		s.apply(fmt.Sprintf(contactsFile, srv.URL, ""))
		f := s.work()
		s.await("a run before", s.sync(f, store.ModeFull).ID, ended) // the leases of a process before are void by now
		ch := s.channel()
		var lease store.Lease
		s.write(func(ctx context.Context, tx *store.Tx) error {
			list, err := tx.Connectors(ctx, ch.ID)
			if err != nil {
				return err
			}
			var ok bool
			lease, ok, err = tx.AcquireLease(ctx, store.LeaseKey{ChannelID: ch.ID, ConnectorID: list[0].ID, Direction: store.KindSync}, "ghost", 2*time.Second)
			if !ok {
				s.t.Error("no lease")
			}
			return err
		})
		run := s.sync(f, store.ModeFull)
		if m := s.await("busy", run.ID, waits(store.WaitBusy)); m.until == nil || !m.until.Equal(lease.ExpiresAt) {
			s.t.Errorf("until %v, the lease ends %v", m.until, lease.ExpiresAt)
		}
		if m := s.await("the end", run.ID, ended); m.run.Status != store.StatusFinished {
			s.t.Errorf("%s %+v", m.run.Status, m.run.Error)
		}
	})
}

func TestBreakerHoldsARunBackAndLetsItGoOn(t *testing.T) {
	t.Parallel()
	const open = 4 * time.Second
	onEachSite(t, func(s *site) {
		var down atomic.Bool
		down.Store(true)
		srv := transporttest.New(s.t, pages(func(string) transporttest.Step {
			if down.Load() {
				return transporttest.Status(http.StatusServiceUnavailable)
			}
			return nil
		}))
		s.apply(fmt.Sprintf(contactsFile, srv.URL, ""))
		state := func() (b store.Breaker) {
			id := s.channel().ID
			s.write(func(ctx context.Context, tx *store.Tx) (err error) {
				b, err = tx.Breaker(ctx, id)
				return err
			})
			return b
		}
		f := s.work()
		run := s.sync(f, store.ModeFull)
		// The call in which it opened tells what the remote did, and is a try. On a
		// slow machine the next one may come late and be the probe, which is another.
		m := s.await("the breaker", run.ID, func(m moment) bool {
			if m.word == store.WaitRetry {
				s.due(f, m.slices[0].ID)
			}
			return m.word == store.WaitBreakerOpen
		})
		if m.until == nil || time.Until(*m.until) > open+time.Second || m.slices[0].Attempts == 0 {
			s.t.Errorf("until %v, %d attempts", m.until, m.slices[0].Attempts)
		}
		if b := state(); b.State != store.BreakerOpen || b.Until == nil || !strings.Contains(b.Reason, "503") {
			s.t.Errorf("%+v", b)
		}
		if _, err := f.Call(s.t.Context(), "crm", "ping", nil); fault.CodeOf(err) != transport.CodeBreakerOpen {
			s.t.Errorf("an operation behind the open breaker: %v", err)
		}
		down.Store(false)
		if m = s.await("the end", run.ID, ended); m.run.Status != store.StatusFinished || m.count.Created != 2 {
			s.t.Errorf("%s %+v", m.run.Status, m.count)
		}
		if b := state(); b.State != store.BreakerClosed {
			s.t.Errorf("%+v", b)
		}
	}, transport.WithBreaker(transport.BreakerConfig{Failures: 3, Open: open}))
}
