package workers

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/transport"
	"github.com/tandem-sync/tandem/transport/transporttest"
)

func oauthFile(o *transporttest.OAuth, refresh string) string {
	return fmt.Sprintf(contactsFile, o.URL, fmt.Sprintf(`, auth: {type: oauth2, token_url: %q, client_id: %s, client_secret: %q, token: %q}`,
		o.URL+"/token", o.ClientID, o.ClientSecret, refresh))
}

func TestFiveWorkersRenewOneToken(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		o := transporttest.NewOAuth(s.t)
		o.Delay = 50 * time.Millisecond
		s.apply(oauthFile(o, o.Refresh))
		const workers = 5
		openers := make([]*Opener, workers)
		for i := range openers {
			cfg := s.config(s.another(), fmt.Sprintf("worker %d", i))
			cfg.setDefaults()
			openers[i] = newOpener(cfg)
			s.t.Cleanup(openers[i].Close)
		}
		all := func() {
			var wg sync.WaitGroup
			for _, op := range openers {
				wg.Go(func() {
					if _, err := call(s.t.Context(), op, "crm", "ping", nil); err != nil {
						s.t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		for round := 1; round <= 3; round++ {
			all()
			if asked, issued, _ := o.Counts(); asked != round || issued != round {
				s.t.Fatalf("round %d: %d renewals, %d tokens", round, asked, issued)
			}
			o.Revoke()
		}
		row := s.token()
		if row.Version != 3 || row.Pending != nil || strings.Contains(row.Sealed, "token-") || row.Sealed == "" {
			s.t.Errorf("%+v", row)
		}
	})
}

func (s *site) token() (row store.TokenRow) {
	s.t.Helper()
	id := s.channel().ID
	s.write(func(ctx context.Context, tx *store.Tx) (err error) {
		row, err = tx.Token(ctx, id)
		return err
	})
	return row
}

func TestLostRenewalParksTheChannel(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		o := transporttest.NewOAuth(s.t)
		o.Resource = pages(func(string) transporttest.Step { return nil })
		s.apply(oauthFile(o, o.Refresh))
		o.Lose(1)
		f := s.work()
		failed := func(what string) {
			s.t.Helper()
			m := s.awaitFailed(what, s.sync(f, store.ModeFull).ID)
			if m.run.Error == nil || m.run.Error.Code != transport.CodeReauthorise || !strings.Contains(m.run.Error.Message, "was lost") ||
				!strings.Contains(m.run.Error.Hint, "auth.token") || strings.Contains(fmt.Sprint(*m.run.Error), "refresh-token-") {
				s.t.Errorf("%s: %+v", what, m.run.Error)
			}
		}
		failed("the run that lost it")
		asked, _, refused := o.Counts()
		failed("the run after it")
		if now, _, r := o.Counts(); now != asked || r != refused {
			s.t.Errorf("%d renewals and %d calls of a parked channel", now-asked, r-refused)
		}
		id := s.channel().ID
		s.write(func(ctx context.Context, tx *store.Tx) error {
			problem, err := tx.TokenProblem(ctx, id)
			if !strings.Contains(problem, "was lost") {
				s.t.Errorf("shown: %q", problem)
			}
			return err
		})
		// A person authorises anew.
		s.apply(oauthFile(o, o.Refresh))
		if m := s.await("after re-authorisation", s.sync(f, store.ModeFull).ID, ended); m.run.Status != store.StatusFinished || m.count.Created != 2 {
			s.t.Errorf("%s %+v %+v", m.run.Status, m.count, m.run.Error)
		}
		if row := s.token(); row.Problem != "" || row.Pending != nil {
			s.t.Errorf("%+v", row)
		}
	})
}

func (s *site) awaitFailed(what string, id int64) moment {
	s.t.Helper()
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if m := s.look(id); m.run.Status.Ended() {
			return m
		}
		if time.Now().After(end) {
			s.t.Fatal(what + ": the run does not end")
		}
	}
}

func TestDeadWorkerInTheMiddleOfARenewal(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		o := transporttest.NewOAuth(s.t)
		s.apply(oauthFile(o, o.Refresh))
		id := s.channel().ID
		s.write(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.BeginToken(ctx, id, 0, "dead", 300*time.Millisecond, true)
			return err
		})
		begun := time.Now()
		if _, err := Call(s.t.Context(), s.config(s.db, "alive"), "crm", "ping", nil); err != nil {
			s.t.Fatal(err)
		}
		if took := time.Since(begun); took < 200*time.Millisecond {
			s.t.Errorf("it did not wait for the other's right: %s", took)
		}
		if row := s.token(); row.Version != 1 || row.Pending != nil {
			s.t.Errorf("%+v", row)
		}
	})
}

func TestOperationsOfAChannel(t *testing.T) {
	t.Parallel()
	srv := transporttest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ping" {
			transporttest.JSON(`{"pong":true}`)(w, r)
			return
		}
		http.NotFound(w, r)
	}))
	file := fmt.Sprintf(contactsFile, srv.URL, "")
	onEachSite(t, func(s *site) {
		s.apply(file)
		cfg := s.config(s.db, "me")
		list, err := Operations(s.t.Context(), cfg, "crm")
		if err != nil || len(list) != 1 || list[0].Name != "ping" || !list[0].Repeats {
			s.t.Errorf("%+v %v", list, err)
		}
		for _, c := range []struct{ channel, op, code string }{
			{"crm", "ping", ""}, {"crm", "pong", fault.CodeNotFound}, {"nope", "ping", fault.CodeNotFound},
		} {
			answer, err := Call(s.t.Context(), cfg, c.channel, c.op, nil)
			if fault.CodeOf(err) != c.code || err == nil && string(answer) != `{"pong":true}` {
				s.t.Errorf("%+v: %s %v", c, answer, err)
			}
		}
		if _, err := Call(s.t.Context(), cfg, "crm", "ping", map[string]string{"x": "1"}); fault.CodeOf(err) != fault.CodeUsage {
			s.t.Error(err)
		}
		s.apply(strings.Replace(file, "path: /ping", "path: /gone", 1))
		if _, err := Call(s.t.Context(), cfg, "crm", "ping", nil); fault.CodeOf(err) != "remote_not_found" {
			s.t.Error(err)
		}
		s.write(func(ctx context.Context, tx *store.Tx) error {
			ch, err := tx.ChannelByName(ctx, "crm")
			if err != nil {
				return err
			}
			if runs, err := tx.Runs(ctx, store.RunFilter{ChannelID: ch.ID}); err != nil || len(runs) > 0 {
				s.t.Errorf("operations made runs: %+v %v", runs, err)
			}
			return tx.SetChannelEnabled(ctx, ch.ID, false)
		})
		if _, err := Call(s.t.Context(), cfg, "crm", "ping", nil); fault.CodeOf(err) != fault.CodeConflict {
			s.t.Error(err)
		}
	})
}
