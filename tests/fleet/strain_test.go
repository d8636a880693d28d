package fleet

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/internal/demo"
	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/store"
)

// smallDisk mounts a file system of a few MiB that a server which already runs
// can see, and that is gone after the test.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tandem-small-disk-") //nolint:usetesting // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { // #nosec G302 -- the server's user passes through
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	as := func(args ...string) *exec.Cmd {
		if os.Getuid() != 0 {
			args = append([]string{"sudo", "-n"}, args...)
		}
		return exec.Command(args[0], args[1:]...) //nolint:noctx // ends at once
	}
	if out, err := as("mount", "-t", "tmpfs", "-o", "mode=0777,size="+size, "tandem-test", dir).CombinedOutput(); err != nil {
		t.Fatalf("a full disk of PostgreSQL needs a file system of its own: run the tests as root or where sudo asks for no password (%v: %s)", err, out)
	}
	t.Cleanup(func() {
		if out, err := as("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// room gives the free bytes of a file system.
func room(t *testing.T, dir string) uint64 {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return st.Bavail * uint64(st.Bsize) //nolint:unconvert // differs by platform
}

// onServer runs statements with a connection beside Tandem.
func onServer(t *testing.T, address string, statements ...string) {
	t.Helper()
	db, err := sql.Open("postgres", address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // the statements say it
	for _, q := range statements {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

// TestPostgresDiskFull: the disk with PostgreSQL's tables is full in the middle
// of a run. What was committed stays, the run waits, nothing has to be started
// again, and it goes on when there is room.
func TestPostgresDiskFull(t *testing.T) {
	t.Parallel()
	disk := filepath.Join(smallDisk(t, "64m"), "tables") // before the server, which ends before it
	database := testenv.OwnPostgres(t)
	onServer(t, database.URL(),
		fmt.Sprintf(`COPY (SELECT 1) TO PROGRAM 'mkdir -m 700 "%s"'`, disk), // belongs to the server
		fmt.Sprintf("CREATE TABLESPACE small LOCATION '%s'", disk),
		"ALTER DATABASE postgres SET default_tablespace = 'small'")
	r := newRemote(t, demo.Options{Contacts: 12000, Seed: 31, Delay: 10 * time.Millisecond})
	w := newWorld(t, database.URL(), testenv.RabbitMQ(t), r)
	w.must("migrate")
	w.must("apply")
	processes := []*process{w.control(), w.worker()}
	ballast := filepath.Join(filepath.Dir(disk), "ballast")
	if err := os.WriteFile(ballast, make([]byte, room(t, disk)-3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	run := w.begin(`{}`)
	var at api.Run
	until(t, 60*time.Second, "the run to wait for room", func() bool {
		at = w.show(run.ID)
		return at.Waiting != nil && strings.HasPrefix(at.Waiting.Reason, store.CodeDiskFull) || at.Status.Ended()
	})
	time.Sleep(30 * time.Second) // as long as a failure that counts its tries would take to end the run
	at = w.show(run.ID)
	rows := w.number("SELECT count(*) FROM contacts")
	if at.Status.Ended() || rows == 0 || rows%pageSize != 0 || rows >= 12000 || rows != w.number("SELECT count(*) FROM tandem_link") {
		t.Fatalf("with a full disk: %+v, %+v, %d rows", at, at.Error, rows)
	}
	if free := room(t, disk); free > 1<<20 {
		t.Errorf("%d bytes are free: that disk is not full", free)
	}
	t.Logf("waits at %d rows: %+v", rows, at.Waiting)
	for _, p := range processes {
		p.alive()
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	w.counted(w.finished(run.ID), 12000, 12000)
	w.agree()
	w.settled()
	for _, p := range processes {
		p.alive()
	}
}

// TestBackendsTerminated: an administrator, or a pooler, ends connections to
// PostgreSQL at random while a run works. Every record is written once.
func TestBackendsTerminated(t *testing.T) {
	t.Parallel()
	w := newFleet(t, demo.Options{Contacts: 3000, Seed: 32, Delay: 300 * time.Millisecond})
	processes := []*process{w.control(), w.worker(), w.worker()}
	run := w.begin(`{}`)
	ended := 0
	w.look(func(ctx context.Context, db *sql.DB) error {
		db.SetMaxOpenConns(1)
		for end := time.Now().Add(8 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			var pid int
			err := db.QueryRowContext(ctx, `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1`).Scan(&pid)
			if err == sql.ErrNoRows { //nolint:errorlint // database/sql gives it as it is
				continue
			}
			if err != nil {
				return err
			}
			if _, err := db.ExecContext(ctx, "SELECT pg_terminate_backend($1)", pid); err != nil {
				return err
			}
			ended++
		}
		return nil
	})
	if ended < 10 {
		t.Fatalf("only %d connections were ended", ended)
	}
	w.remote.SetDelay(0)
	r := w.finished(run.ID)
	t.Logf("%d connections ended", ended)
	w.counted(r, 3000, 3000)
	w.agree()
	w.settled()
	for _, p := range processes {
		p.alive()
	}
}

// TestUnprovenServersAreRefused: a broker without TLS and a database that need
// not prove itself are refused at the start when they are elsewhere, with what
// to write instead, and permitted by network.allow_plaintext.
func TestUnprovenServersAreRefused(t *testing.T) {
	t.Parallel()
	const elsewhere = "192.0.2.1" // an address for documentation: nobody is there
	r := newRemote(t, demo.Options{Contacts: 1, Seed: 33})
	database := "postgres://tandem:s3cr3t-canary@" + elsewhere + ":5432/tandem?sslmode=require&connect_timeout=1"
	for _, args := range [][]string{{"migrate"}, {"plan"}, {"validate", "--online"}, {"run", "--roles", "worker"}} {
		w := newWorld(t, database, testenv.RabbitMQ(t), r)
		f := w.tandem(append(args, "-o", "json")...)
		if f.code != 2 || !strings.Contains(f.out+f.errors, "sslmode=verify-full") || strings.Contains(f.out+f.errors, "canary") || f.took > time.Minute {
			t.Errorf("%v: exit code %d after %v: %s%s", args, f.code, f.took, f.out, f.errors)
		}
	}
	w := newWorld(t, database, testenv.RabbitMQ(t), r, "allow: [127.0.0.0/8]", "allow: [127.0.0.0/8], allow_plaintext: true")
	w.fails(3, "unreachable", "migrate")

	w = newWorld(t, testenv.Postgres(t), "amqp://tandem:s3cr3t-canary@"+elsewhere+"/", r)
	w.must("migrate")
	w.must("apply")
	if f := w.fails(2, "config", "run", "--roles", "worker"); !strings.Contains(f.Error.Hint, "amqps://") {
		t.Errorf("the broker is refused with %+v", f.Error)
	}
}
