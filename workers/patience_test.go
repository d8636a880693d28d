package workers

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/transport"
	"github.com/tandem-sync/tandem/transport/transporttest"
)

func waited(c *Config) { c.Waited = true }

// always is the same trouble on every page from one on.
func always(from string, step transporttest.Step) func(string) transporttest.Step {
	return func(page string) transporttest.Step {
		if page >= from {
			return step
		}
		return nil
	}
}

func TestWhoWaitsIsToldThatTheRemoteIsDown(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		srv := transporttest.New(s.t, pages(always("", transporttest.Status(http.StatusServiceUnavailable))))
		s.apply(fmt.Sprintf(contactsFile, srv.URL, ""))
		m := s.awaitFailed("the end", s.sync(s.work(waited), store.ModeFull).ID)
		if m.slices[0].Attempts != waitedTries-1 || !strings.Contains(m.run.Error.Message, "503") || m.run.Error.Hint == "" {
			s.t.Errorf("after %d attempts: %+v", m.slices[0].Attempts, m.run.Error)
		}
	}, transport.WithBreaker(transport.BreakerConfig{Failures: 100}))
}

func TestWhoWaitsIsToldThatTheBreakerIsOpen(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		srv := transporttest.New(s.t, pages(always("", transporttest.Status(http.StatusServiceUnavailable))))
		s.apply(fmt.Sprintf(contactsFile, srv.URL, ""))
		m := s.awaitFailed("the end", s.sync(s.work(waited), store.ModeFull).ID)
		e := m.run.Error
		if e.Code != fault.CodeUnreachable || !strings.Contains(e.Message, "the remote does not answer") || !strings.Contains(e.Message, "503") {
			s.t.Errorf("%+v", e)
		}
	}, transport.WithBreaker(transport.BreakerConfig{Failures: 1, Open: time.Hour}))
}

// TestWhatWhoWaitsIsNotToldYet holds what is waited for all the same: a time the
// remote named, and a remote that has given something already.
func TestWhatWhoWaitsIsNotToldYet(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from string
		step transporttest.Step
		word string
	}{
		"a limit":          {"", transporttest.Status(http.StatusTooManyRequests, "Retry-After", "60"), store.WaitRateLimited},
		"a quota":          {"", transporttest.Status(http.StatusTooManyRequests, "Retry-After", "1800"), store.WaitQuota},
		"a time to return": {"", transporttest.Status(http.StatusServiceUnavailable, "Retry-After", "60"), store.WaitRetry},
		"half way":         {"2", transporttest.Status(http.StatusServiceUnavailable), store.WaitBreakerOpen},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachSite(t, func(s *site) {
				srv := transporttest.New(s.t, pages(always(c.from, c.step)))
				s.apply(fmt.Sprintf(contactsFile, srv.URL, ""))
				m := s.await("the wait", s.sync(s.work(waited), store.ModeFull).ID, waits(c.word))
				if m.until == nil {
					s.t.Errorf("%q without a time", m.reason)
				}
			}, transport.WithBreaker(transport.BreakerConfig{Failures: 3, Open: time.Hour}))
		})
	}
}
