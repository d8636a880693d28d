package fleet

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/internal/demo"
	"github.com/tandem-sync/tandem/store"
)

// TestRolesInProcesses is the main job as a fleet does it: the schema, the file,
// two workers and one process for the rest.
func TestRolesInProcesses(t *testing.T) {
	t.Parallel()
	w := newFleet(t, demo.Options{Contacts: 3000, Broken: 7, Seed: 1})
	w.control()
	workers := []*process{w.worker(), w.worker()}
	first := w.finished(w.begin(`{}`).ID)
	w.counted(first, 3000, 2993)
	if first.Parked != 7 || first.Mode != store.ModeIncremental {
		t.Errorf("first run: %+v", first)
	}
	w.agree()

	did := w.remote.Edit(demo.Edits{Edited: 40, Created: 10, Deleted: 5})
	second := w.finished(w.begin(`{}`).ID)
	if second.Updated != int64(did.Edited) || second.Created != int64(did.Created) || second.Deleted != int64(did.Deleted) {
		t.Errorf("after %+v: updated %d, created %d, deleted %d", did, second.Updated, second.Created, second.Deleted)
	}
	w.agree()
	w.settled()

	var shown api.Run
	if err := json.Unmarshal([]byte(w.must("runs", "show", fmt.Sprint(first.ID), "-o", "json")), &shown); err != nil || shown.Read != first.Read {
		t.Errorf("runs show: %+v, %v", shown, err)
	}
	for _, p := range workers {
		p.signal(syscall.SIGTERM)
	}
	for _, p := range workers {
		if code := p.exit(20 * time.Second); code != 0 {
			t.Errorf("an idle worker ended with %d after SIGTERM", code)
		}
	}
}

// TestCancel: a run that waits for its remote ends within seconds, by the API
// and by the command, and the next one goes on.
func TestCancel(t *testing.T) {
	t.Parallel()
	w := newFleet(t, demo.Options{Contacts: 500, Seed: 2})
	w.control()
	w.worker()
	cancel := map[string]func(id int64){
		"API": func(id int64) {
			if code := w.ask(http.MethodPost, fmt.Sprintf("runs/%d/cancel", id), "", nil); code >= 300 {
				t.Errorf("cancel: status %d", code)
			}
		},
		"command": func(id int64) { w.must("runs", "cancel", fmt.Sprint(id)) },
	}
	for _, how := range []string{"API", "command"} {
		w.remote.holdFrom(3)
		run := w.begin(`{"mode":"full"}`)
		w.reached(run.ID, 200)
		began := time.Now()
		cancel[how](run.ID)
		until(t, 10*time.Second, "the run to be cancelled by "+how, func() bool { return w.show(run.ID).Status.Ended() })
		r := w.show(run.ID)
		t.Logf("cancelled by %s within %v", how, time.Since(began).Round(time.Millisecond))
		if r.Status != store.StatusCancelled || r.Read != 200 || r.Error == nil || r.Error.Code != "cancelled" {
			t.Errorf("%s: %s, read %d, error %+v", how, r.Status, r.Read, r.Error)
		}
		w.remote.letGo()
	}
	run := w.finished(w.begin(`{"mode":"full"}`).ID)
	if run.Read != 500 || run.Created != 300 || run.Unchanged != 200 {
		t.Errorf("after two cancelled runs: %+v", run)
	}
	w.agree()
	w.settled()

	// `sync --wait` of a run that somebody cancels says so by its exit code.
	w.remote.holdFrom(2)
	p := w.spawn(binary, "sync", "crm", "--full", "--wait", "-o", "json")
	until(t, 20*time.Second, "the run of the command", func() bool { return w.remote.held() })
	id := w.runs()[0].ID
	w.must("runs", "cancel", fmt.Sprint(id))
	if code := p.exit(10 * time.Second); code != 1 || !strings.Contains(p.out.String(), `"status":"cancelled"`) {
		t.Errorf("sync --wait of a cancelled run: exit code %d, %s", code, p.out.String())
	}
}
