package fleet

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/internal/demo"
	"github.com/tandem-sync/tandem/messages"
)

// newer builds the next version: the same program with one more migration.
func newer(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	store := must(filepath.Abs("../../store/migrations"))(t)
	overlay := map[string]map[string]string{"Replace": {}}
	for _, dialect := range []string{"postgres", "sqlite"} {
		name := filepath.Join(dir, dialect+".sql")
		text := "-- +goose Up\nCREATE TABLE tandem_of_the_next_version (id integer);\n-- +goose Down\nDROP TABLE tandem_of_the_next_version;\n"
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay["Replace"][filepath.Join(store, dialect, "09999_next_version.sql")] = name
	}
	file, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "tandem-next")
	if err := os.WriteFile(file, must(json.Marshal(overlay))(t), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", file, "-o", program, "../../cmd/tandem") // #nosec G204 -- our own names
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the next version: %v: %s", err, out)
	}
	return program
}

// TestUpgradeMidRun: the next version brings the schema up to date and its worker
// joins while the old version's processes are at work, with a run under way.
// Both go on; the old version is not started any more, and says why. A message
// of a version that nobody here speaks is kept for a person.
func TestUpgradeMidRun(t *testing.T) {
	t.Parallel()
	next := newer(t)
	w := newFleet(t, demo.Options{Contacts: 800, Seed: 53})
	control := w.control()
	old := w.worker()
	w.remote.holdFrom(4)
	run := w.begin(`{}`)
	w.reached(run.ID, 300)
	if p := w.spawn(next, "run", "--roles", "worker"); p.exit(time.Minute) != 3 || !strings.Contains(p.log.String(), "tandem migrate") {
		t.Errorf("the next version before the migration: exit code %d, %s", p.cmd.ProcessState.ExitCode(), p.log.String())
	}
	if p := w.spawn(next, "migrate"); p.exit(time.Minute) != 0 {
		t.Fatalf("migrate: %s", p.log.String())
	}
	port := freePort(t)
	w.ready(w.spawn(next, "run", "--roles", "worker", "--health", "127.0.0.1:"+port), "127.0.0.1:"+port)
	w.fails(3, "schema_new", "run", "--roles", "worker")
	w.fails(3, "schema_new", "apply")
	w.remote.letGo()
	w.counted(w.finished(run.ID), 800, 800) // by the old worker, with the new one beside it
	w.agree()

	f := w.foreign()
	later := `{"v":2,"type":"sync","channel":"crm","priority":"high"}`
	f.publish(messages.KeySyncNow, later)
	if got := f.dead(1)[later]; got != "unsupported_version" {
		t.Errorf("a message of another version is refused as %q", got)
	}
	var list struct{ Parked []api.Parked }
	if w.ask(http.MethodGet, "parked", "", &list); len(list.Parked) != 1 || list.Parked[0].Reason != "unsupported_version" {
		t.Errorf("parked: %+v", list.Parked)
	}

	old.kill() // the rest is the new worker's
	w.remote.Edit(demo.Edits{Edited: 9})
	if r := w.finished(w.begin(`{}`).ID); r.Updated != 9 {
		t.Errorf("the run by the next version's worker: %+v", r)
	}
	w.agree()
	w.settled()
	control.alive()
}
