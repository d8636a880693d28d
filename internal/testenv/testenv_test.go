package testenv

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEveryCallGivesItsOwnDatabase(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	first, second := Postgres(t), Postgres(t)
	if first == second {
		t.Fatalf("both calls gave %s", first)
	}
	for _, url := range []string{first, second} {
		err := onPostgres(ctx, url, func(ctx context.Context, db *sql.DB) error {
			_, err := db.ExecContext(ctx, "CREATE TABLE only_here (id int)")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestPrivatePostgresIsDurable(t *testing.T) {
	t.Setenv(EnvPostgres, "")
	var fsync, commit string
	err := onPostgres(t.Context(), Postgres(t), func(ctx context.Context, db *sql.DB) error {
		return db.QueryRowContext(ctx, "SELECT current_setting('fsync'), current_setting('synchronous_commit')").Scan(&fsync, &commit)
	})
	if err != nil || fsync != "on" || commit != "on" {
		t.Fatalf("fsync %q, synchronous_commit %q, %v; want on, on", fsync, commit, err)
	}
}

func TestADatabaseEndsWithItsTest(t *testing.T) {
	t.Parallel()
	var url string
	t.Run("uses one", func(t *testing.T) { url = Postgres(t) })
	if err := pingPostgres(t.Context(), url); err == nil {
		t.Fatal("the database is still there")
	}
}

func TestBrokerURLAcceptsConnections(t *testing.T) {
	t.Parallel()
	if err := pingAMQP(t.Context(), RabbitMQ(t)); err != nil {
		t.Fatal(err)
	}
}

func TestParallelCallersShareOneServer(t *testing.T) {
	t.Setenv(EnvPostgres, "")
	t.Setenv(EnvDir, t.TempDir())
	urls := make([]string, 4)
	var wg sync.WaitGroup
	for i := range urls {
		wg.Go(func() {
			url, err := PostgresURL(t.Context())
			if err != nil {
				t.Error(err)
			}
			urls[i] = url
		})
	}
	wg.Wait()
	t.Cleanup(func() { down(t) })
	for _, url := range urls {
		if url != urls[0] || url == "" {
			t.Fatalf("urls differ: %v", urls)
		}
	}
}

// A server that was killed, whose files were cleaned away or whose state file
// names a process that is somebody else's now is replaced.
func TestADeadServerIsReplaced(t *testing.T) {
	t.Setenv(EnvPostgres, "")
	dir := t.TempDir()
	t.Setenv(EnvDir, dir)
	t.Cleanup(func() { down(t) })
	first := started(t, dir)

	if err := syscall.Kill(first.PIDs[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := started(t, dir)
	if second.URL == first.URL {
		t.Fatal("a killed server was handed out")
	}
	if _, err := os.Stat(first.Dir); err == nil {
		t.Errorf("%s of the killed server is still there", first.Dir)
	}

	if err := os.RemoveAll(second.Dir); err != nil {
		t.Fatal(err)
	}
	third := started(t, dir)
	if third.URL == second.URL {
		t.Fatal("a server without its files was handed out")
	}

	stale := *third
	stale.PIDs = []int{os.Getpid()} // must survive
	if err := writePart(dir, postgresFile, &stale); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the state file has forgotten this one
		if err := third.stop(); err != nil {
			t.Error(err)
		}
	})
	if fourth := started(t, dir); fourth.URL == third.URL {
		t.Fatal("a server whose process is not ours was handed out")
	}
}

func TestDownEndsTheServer(t *testing.T) {
	t.Setenv(EnvPostgres, "")
	dir := t.TempDir()
	t.Setenv(EnvDir, dir)
	s := started(t, dir)
	down(t)
	if pingPostgres(t.Context(), s.URL) == nil {
		t.Error("the server still answers")
	}
	if _, err := os.Stat(s.Dir); err == nil {
		t.Errorf("%s is still there", s.Dir)
	}
	if _, err := os.Stat(filepath.Join(dir, postgresFile)); err == nil {
		t.Error("the state file is still there")
	}
	down(t) // twice is fine
}

func TestAnUnreachableGivenServerIsAClearError(t *testing.T) {
	t.Setenv(EnvPostgres, "postgres://u:hidden@127.0.0.1:1/x?sslmode=disable&connect_timeout=2")
	if _, err := PostgresURL(t.Context()); err == nil {
		t.Fatal("no error")
	}
	t.Setenv(EnvAMQP, "amqp://u:hidden@127.0.0.1:1/")
	if _, err := broker(t.Context()); err == nil {
		t.Fatal("no error")
	}
}

func TestLeftOver(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	for name, want := range map[string]bool{
		"tandem_test_1799900000_ab": true,
		"tandem_test_1799999999_ab": false,
		"tandem_test_x_ab":          false,
		"postgres":                  false,
		"/":                         false,
	} {
		if got := leftOver(name, now); got != want {
			t.Errorf("leftOver(%q) = %v, want %v", name, got, want)
		}
	}
}

func started(t *testing.T, dir string) *server {
	t.Helper()
	if _, err := PostgresURL(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := readPart(dir, postgresFile)
	if s == nil {
		t.Fatal("no state file")
	}
	return s
}

func down(t *testing.T) {
	t.Helper()
	if err := Down(context.Background()); err != nil {
		t.Error(err)
	}
}
