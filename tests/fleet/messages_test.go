package fleet

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/internal/demo"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/store"
)

// TestMessagesOfOthers: what any program publishes starts a run, once per id.
func TestMessagesOfOthers(t *testing.T) {
	t.Parallel()
	w := newFleet(t, demo.Options{Contacts: 120, Seed: 3})
	w.control()
	w.worker()
	f := w.foreign()
	count := func() int { return len(w.runs()) }
	ended := func(n int) {
		t.Helper()
		until(t, 30*time.Second, "the runs of the messages", func() bool {
			done := 0
			for _, r := range w.runs() {
				if r.Status.Ended() {
					done++
				}
			}
			return done == n
		})
	}

	f.publish(messages.KeySyncNow, `{"v":1,"type":"sync","channel":"crm"}`)
	ended(1)
	if r := w.runs()[0]; r.Status != store.StatusFinished || r.Trigger != store.TriggerMessage || r.Read != 120 {
		t.Errorf("the run of a message: %+v", r)
	}
	// The other queues take messages of others, too.
	f.publish(messages.KeySync, `{"v":1,"type":"sync","channel":"crm","mode":"full","connectors":["contacts"]}`)
	ended(2)
	f.publish(messages.KeyReverse, `{"v":1,"type":"reverse-sync","channel":"crm","connectors":["contacts"],"local_ids":["42"]}`)
	ended(3)

	for range 3 {
		f.publish(messages.KeySyncNow, `{"v":1,"type":"sync","channel":"crm","id":"order-7"}`)
	}
	ended(4)
	f.publish(messages.KeySyncNow, `{"v":1,"type":"sync","channel":"crm","id":"order-7"}`)
	f.publish(messages.KeySyncNow, `{"v":1,"type":"sync","channel":"crm","id":"order-8","remote_ids":["c00001",2]}`)
	ended(5)
	time.Sleep(500 * time.Millisecond)
	if n := count(); n != 5 {
		t.Errorf("%d runs, want 5: one per id", n)
	}
	var first api.Run
	if code := w.ask(http.MethodPost, "channels/crm/sync", `{"id":"order-7"}`, &first); code >= 300 || first.ID != 4 {
		t.Errorf("a repeated id by HTTP: status %d, run %d, want the first run 4", code, first.ID)
	}
	w.agree()
	w.settled()
	for _, q := range []string{messages.QueueSync, messages.QueueSyncNow, messages.QueueReverse, messages.QueueDead} {
		if n := f.depth(q); n != 0 {
			t.Errorf("%s holds %d messages", q, n)
		}
	}
}

// TestBadMessages: each is kept in the ledger with its reason, copied to the
// dead queue and acknowledged; the good one behind them is done.
func TestBadMessages(t *testing.T) {
	t.Parallel()
	w := newFleet(t, demo.Options{Contacts: 20, Seed: 4})
	w.control()
	worker := w.worker()
	f := w.foreign()
	bad := map[string]string{
		`{"v":1,"type":"sync","channel":"crm"`: "malformed",
		`not JSON at all`:                      "malformed",
		`["v",1]`:                              "malformed",
		`{"v":1,"type":"sync","channel":"crm","wait":true}`:    "malformed",
		`{"v":1,"type":"sync","channel":"crm","start":"soon"}`: "malformed",
		"\xff\xfe\x00": "malformed",
		`{"v":1,"type":"sync","channel":"crm","remote_ids":["` + strings.Repeat("x", 5000) + `"]}`: "too_large",
		`{"v":99,"type":"sync","channel":"crm"}`:                                                   "unsupported_version",
		`{"v":1,"type":"dance","channel":"crm"}`:                                                   "unknown_type",
		`{"v":1,"type":"sync","channel":"erp"}`:                                                    "unknown_channel",
		`{"v":1,"type":"sync","channel":"crm","connectors":["contacts","deals"]}`:                  "unknown_connector",
	}
	for body := range bad {
		f.publish(messages.KeySyncNow, body)
	}
	f.publish(messages.KeySync, "") // nothing at all
	bad[""] = "malformed"
	f.publish(messages.KeySyncNow, `{"v":1,"type":"sync","channel":"crm"}`)

	for body, reason := range f.dead(len(bad)) {
		if bad[body] != reason {
			t.Errorf("dead letter %.60q has the reason %q, want %q", body, reason, bad[body])
		}
	}
	var list struct{ Parked []api.Parked }
	w.ask(http.MethodGet, "parked?limit=100", "", &list)
	want, got := map[string]int{}, map[string]int{}
	for _, reason := range bad {
		want[reason]++
	}
	for _, p := range list.Parked {
		got[p.Reason]++
		if p.Kind != store.ParkedMessage || p.Message == "" || len(p.Payload) == 0 {
			t.Errorf("parked message without kind, text or payload: %+v", p)
		}
	}
	for reason, n := range want {
		if got[reason] != n {
			t.Errorf("%d parked as %s, want %d (all: %v)", got[reason], reason, n, got)
		}
	}
	until(t, 20*time.Second, "the good message's run", func() bool {
		list := w.runs()
		return len(list) == 1 && list[0].Status == store.StatusFinished
	})
	time.Sleep(time.Second) // a loop would go on
	if n := strings.Count(worker.log.String(), "a message was refused"); n != len(bad) {
		t.Errorf("messages were refused %d times, want %d: each once", n, len(bad))
	}
	for _, q := range []string{messages.QueueSync, messages.QueueSyncNow, messages.QueueDead} {
		if n := f.depth(q); n != 0 {
			t.Errorf("%s holds %d messages", q, n)
		}
	}
}

// TestQueuesDeleted: the queues only carry hints, so losing all of them costs
// time and nothing else, in the middle of a run as well as before it begins.
func TestQueuesDeleted(t *testing.T) {
	t.Parallel()
	w := newFleet(t, demo.Options{Contacts: 800, Seed: 5})
	w.control()
	f := w.foreign()
	run := w.begin(`{}`)
	until(t, 20*time.Second, "the message of the run", func() bool { return f.depth(messages.QueueSyncNow) == 1 })
	f.deleteQueues() // with the run's message in it
	w.remote.holdFrom(5)
	worker := w.worker()
	began := time.Now()
	until(t, 60*time.Second, "the run whose message is lost to begin", func() bool { return w.remote.held() })
	t.Logf("begun again after %v", time.Since(began).Round(time.Second))
	w.reached(run.ID, 400)
	f.deleteQueues() // with the slice's message in work
	time.Sleep(time.Second)
	w.remote.letGo()
	w.counted(w.finished(run.ID), 800, 800)
	w.agree()
	w.settled()

	w.remote.Edit(demo.Edits{Edited: 3})
	next := w.finished(w.begin(`{}`).ID)
	if next.Updated != 3 {
		t.Errorf("the run after it: %+v", next)
	}
	worker.alive()
	w.agree()
}
