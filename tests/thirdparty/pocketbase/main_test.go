package pocketbase

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// contacts is how many records every test syncs.
const contacts = 5000

// built is what TestMain makes once for all tests.
var built struct {
	pocketbase string // program
	tandem     string // program
	empty      string // a PocketBase data folder with the collection and no contacts
	seeded     string // a PocketBase data folder with the contacts in it; copied by each test
	seededAt   time.Time
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "tandem-pocketbase-")
		if err == nil {
			defer os.RemoveAll(dir)
			err = prepare(dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "preparing the tests:", err)
			return 1
		}
		return m.Run()
	}())
}

func prepare(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	built.pocketbase = filepath.Join(dir, "pocketbase")
	if err := Build(ctx, built.pocketbase); err != nil {
		return err
	}
	if built.tandem = os.Getenv("TANDEM_BIN"); built.tandem == "" {
		built.tandem = filepath.Join(dir, "tandem")
		cmd := exec.CommandContext(ctx, "go", "build", "-o", built.tandem, "./cmd/tandem")
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build tandem: %w: %s", err, out)
		}
	}
	built.empty = filepath.Join(dir, "empty")
	s, err := Start(ctx, built.pocketbase, built.empty)
	if err != nil {
		return err
	}
	schema, err := os.ReadFile(filepath.Join(example, "collection.json"))
	if err == nil {
		err = s.CreateCollection(ctx, schema)
	}
	if err = errors.Join(err, s.Stop()); err != nil {
		return err
	}
	built.seeded = filepath.Join(dir, "seeded")
	if err := os.CopyFS(built.seeded, os.DirFS(built.empty)); err != nil {
		return err
	}
	if s, err = Start(ctx, built.pocketbase, built.seeded); err != nil {
		return err
	}
	err = s.Seed(ctx, contacts)
	built.seededAt = time.Now()
	return errors.Join(err, s.Stop())
}

const (
	root    = "../../.."
	example = root + "/examples/pocketbase"
)

// remote starts a PocketBase of the test's own that holds the contacts.
func remote(t *testing.T) *Server {
	t.Helper()
	return remoteFrom(t, built.seeded)
}

// emptyRemote starts one that holds none.
func emptyRemote(t *testing.T) *Server {
	t.Helper()
	return remoteFrom(t, built.empty)
}

func remoteFrom(t *testing.T, data string) *Server {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	s, err := Start(t.Context(), built.pocketbase, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// freshServers gives a database and a virtual host of the test's own on the
// servers that Tandem's other tests use too.
func freshServers(t *testing.T) (postgres, amqp string) {
	t.Helper()
	cmd := exec.Command("go", "run", "./internal/testenv/cmd/testenv", "fresh")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // its standard input ends: it clears away
		if err := errors.Join(stdin.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	for postgres == "" || amqp == "" {
		var name, value string
		var line string
		if _, err := fmt.Fscanln(stdout, &line); err != nil {
			t.Fatalf("testenv fresh: %v", err)
		}
		name, value = cut(line)
		switch name {
		case "TANDEM_TEST_POSTGRES_URL":
			postgres = value
		case "TANDEM_TEST_AMQP_URL":
			amqp = value
		}
	}
	return postgres, amqp
}
