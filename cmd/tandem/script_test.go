package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/tandem-sync/tandem/internal/demo"
	"github.com/tandem-sync/tandem/store"
)

// checked is testing.M that also finds goroutines left behind.
type checked struct{ *testing.M }

func (c checked) Run() int {
	code := c.M.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func TestMain(m *testing.M) {
	testscript.Main(checked{m}, map[string]func(){"tandem": main})
}

type remoteKey struct{}

// TestScripts runs the sessions in testdata/script. Every session has an
// emulated remote of its own ($REMOTE), a free port ($PORT) and a configuration
// (tandem.yaml) where it brings none.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, params("testdata/script"))
}

func params(dir string) testscript.Params {
	return testscript.Params{
		Dir: dir, RequireExplicitExec: true, RequireUniqueNames: true, Setup: setUpScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "json": jsonCommand, "lines": lines, "mode": mode, "sleep": sleep,
			"edit": edit, "slow": slow, "await": await, "ready": ready, "hold": hold, "terminate": terminate,
			"waitruns": waitRuns, "waitrows": waitRows, "idle": idle, "finished": finished,
			"hubspot": hubspotCall, "sql": sqlCommand,
		},
	}
}

func setUpScript(env *testscript.Env) error {
	remote := demo.New(demo.Options{Contacts: 300, Broken: 3, Refuse: -1, Seed: 7})
	srv := httptest.NewServer(remote)
	env.Defer(srv.Close)
	env.Values[remoteKey{}] = remote
	port, err := freePort()
	if err != nil {
		return err
	}
	port2, err := freePort()
	if err != nil {
		return err
	}
	env.Setenv("PORT2", port2)
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		return err
	}
	env.Setenv("EXAMPLES", examples)
	env.Setenv("REMOTE", srv.URL)
	// A remote that lets nobody in.
	denied := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	}))
	env.Defer(denied.Close)
	env.Setenv("DENIED", denied.URL)
	env.Setenv("PORT", port)
	env.Setenv("TANDEM_LISTEN", "127.0.0.1:"+port)
	env.Setenv("TMPDIR", env.WorkDir)
	file := filepath.Join(env.WorkDir, "tandem.yaml")
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	text := strings.Replace(fmt.Sprintf(demoFile, srv.URL, "tandem.db"), "listen: 127.0.0.1:8080\n", "", 1)
	return os.WriteFile(file, []byte(text), 0o600)
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

// exits CODE COMMAND…: the command must end with the exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var e *exec.ExitError
		if !errors.As(err, &e) {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// json FILE PATH=VALUE…: the last line of the file is an object that has the
// values; numbers compare as text, a path with * stands for any value there.
func jsonCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: json FILE PATH=VALUE…")
	}
	text := strings.TrimSpace(ts.ReadFile(args[0]))
	last := text[strings.LastIndex(text, "\n")+1:]
	var root any
	dec := json.NewDecoder(strings.NewReader(last))
	dec.UseNumber()
	if err := dec.Decode(&root); err != nil {
		ts.Fatalf("%q: %v", last, err)
	}
	for _, arg := range args[1:] {
		path, want, _ := strings.Cut(arg, "=")
		if got, ok := at(root, path); !ok || (want != "*" && got != want) {
			ts.Fatalf("%s = %q (there: %v), want %q in %s", path, got, ok, want, last)
		}
	}
}

// at gives the value at a dotted path as text.
func at(v any, path string) (string, bool) {
	for key := range strings.SplitSeq(path, ".") {
		switch node := v.(type) {
		case map[string]any:
			next, ok := node[key]
			if !ok {
				return "", false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(node) {
				return "", false
			}
			v = node[i]
		default:
			return "", false
		}
	}
	if v == nil {
		return "null", true
	}
	switch v.(type) {
	case map[string]any, []any:
		b, err := json.Marshal(v)
		return string(b), err == nil
	}
	return fmt.Sprint(v), true
}

// lines FILE N: the file has N lines, each of them a JSON object.
func lines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: lines FILE N")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	got := 0
	sc := bufio.NewScanner(strings.NewReader(ts.ReadFile(args[0])))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		if !json.Valid(sc.Bytes()) {
			ts.Fatalf("%q is no JSON", sc.Text())
		}
		got++
	}
	if ts.Check(sc.Err()); got != want {
		ts.Fatalf("%d lines, want %d", got, want)
	}
}

var editArg = regexp.MustCompile(`^(edited|created|deleted|purged|repaired)=(\d+)$`)

// edit edited=N created=N deleted=N purged=N repaired=N: the remote changes.
func edit(ts *testscript.TestScript, neg bool, args []string) {
	var e demo.Edits
	into := map[string]*int{"edited": &e.Edited, "created": &e.Created, "deleted": &e.Deleted, "purged": &e.Purged, "repaired": &e.Repaired}
	for _, arg := range args {
		m := editArg.FindStringSubmatch(arg)
		if m == nil || neg {
			ts.Fatalf("%q: want name=number", arg)
		}
		n, err := strconv.Atoi(m[2])
		ts.Check(err)
		*into[m[1]] = n
	}
	remote, ok := ts.Value(remoteKey{}).(*demo.Remote)
	if !ok {
		ts.Fatalf("no remote")
	}
	if did := remote.Edit(e); did != e {
		ts.Fatalf("did %+v of %+v", did, e)
	}
}

// await FILE: waits until a process holds the lock of the database and serves.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await DATABASE")
	}
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if info, held, err := store.ReadLock(ts.MkAbs(args[0])); err == nil && held && info.URL != "" {
			ts.Setenv("TOKEN", info.Token)
			ts.Setenv("URL", info.URL)
			return
		}
	}
	ts.Fatalf("nobody serves %s", args[0])
}

// terminate DATABASE: sends SIGTERM to the process that holds the database.
func terminate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: terminate DATABASE")
	}
	info, held, err := store.ReadLock(ts.MkAbs(args[0]))
	ts.Check(err)
	if !held {
		ts.Fatalf("nobody holds %s", args[0])
	}
	ts.Check(syscall.Kill(info.PID, syscall.SIGTERM))
}

// slow DURATION: every answer of the remote takes so long from now on.
func slow(ts *testscript.TestScript, neg bool, args []string) {
	remote, ok := ts.Value(remoteKey{}).(*demo.Remote)
	if neg || len(args) != 1 || !ok {
		ts.Fatalf("usage: slow DURATION")
	}
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	remote.SetDelay(d)
}

// mode FILE OCTAL: the file has these permissions.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode FILE OCTAL")
	}
	st, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", st.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}

// hold DATABASE: takes the database's lock without an address for the rest of the
// session, as a command at work in the foreground does.
func hold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hold DATABASE")
	}
	lock, err := store.AcquireLock(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() { _ = lock.Release() })
	ts.Setenv("HOLDER", strconv.Itoa(os.Getpid()))
}

// sleep DURATION: waits.
func sleep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sleep DURATION")
	}
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	time.Sleep(d)
}
