package rabbit_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/messages/rabbit"
)

// node is a RabbitMQ of this test alone: an alarm stops all publishers of a
// broker, so it cannot be raised on a shared one.
type node struct {
	t   *testing.T
	env []string
	url string
}

// tool finds a program of RabbitMQ. The ones on Debian's PATH are wrappers for
// root and the service's user.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, pattern := range []string{
		"/usr/lib/rabbitmq/lib/*/sbin/" + name, "/opt/rabbitmq*/sbin/" + name,
		"/opt/homebrew/opt/rabbitmq/sbin/" + name, "/usr/local/opt/rabbitmq/sbin/" + name, "/usr/lib/erlang/bin/" + name,
	} {
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			return found[len(found)-1]
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is needed for a RabbitMQ of its own: install rabbitmq-server", name)
	}
	return path
}

func startNode(t *testing.T) *node {
	t.Helper()
	dir, err := os.MkdirTemp("", "tandem-node-") //nolint:usetesting // a socket path has a limit that t.TempDir may break
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ports := make([]string, 3)
	for i := range ports {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		check(t, err)
		_, ports[i], err = net.SplitHostPort(l.Addr().String())
		check(t, err)
		defer l.Close() //nolint:errcheck // frees the port
		check(t, l.Close())
	}
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	n := &node{t: t, url: "amqp://guest:guest@127.0.0.1:" + ports[0] + "/"}
	n.env = append(os.Environ(),
		"HOME="+dir, "RABBITMQ_NODENAME=tandem-"+ports[0]+"@localhost", "RABBITMQ_MNESIA_BASE="+filepath.Join(dir, "mnesia"),
		"RABBITMQ_LOG_BASE="+filepath.Join(dir, "log"), "RABBITMQ_CONF_ENV_FILE="+write("env.sh", ""),
		"RABBITMQ_CONFIG_FILE="+write("rabbitmq.conf", "listeners.tcp.1 = 127.0.0.1:"+ports[0]+"\ndisk_free_limit.absolute = 1MB\nraft.wal_max_size_bytes = 33554432\nlog.file.level = warning\n"),
		"RABBITMQ_ADVANCED_CONFIG_FILE="+write("advanced.config", "[].\n"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+write("plugins", "[].\n"), "RABBITMQ_PID_FILE="+filepath.Join(dir, "pid"),
		"RABBITMQ_GENERATED_CONFIG_DIR="+filepath.Join(dir, "generated"), "RABBITMQ_SCHEMA_DIR="+filepath.Join(dir, "schema"),
		"RABBITMQ_DIST_PORT="+ports[1], "ERL_EPMD_PORT="+ports[2], "ERL_EPMD_ADDRESS=127.0.0.1",
		"RUNNING_UNDER_SYSTEMD=1", // the script becomes the node, so that ending it ends the node
	)
	n.background(tool(t, "epmd"), "-port", ports[2], "-address", "127.0.0.1")
	n.background(tool(t, "rabbitmq-server"))
	var last error
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		b := broker(t, rabbit.Config{URL: n.url})
		last = b.Ready(t.Context())
		check(t, b.Close())
		if last == nil {
			return n
		}
		if time.Now().After(end) {
			t.Fatalf("the node did not get ready: %v", last)
		}
	}
}

// background runs a program until the test ends.
func (n *node) background(program string, args ...string) {
	n.t.Helper()
	cmd := exec.CommandContext(context.Background(), program, args...) // #nosec G204 -- fixed programs
	cmd.Env = n.env
	check(n.t, cmd.Start())
	n.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

func (n *node) ctl(args ...string) string {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool(n.t, "rabbitmqctl"), append([]string{"--quiet"}, args...)...) // #nosec G204 -- fixed program
	cmd.Env = n.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		n.t.Fatalf("rabbitmqctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// user makes a user with these rights to configure, write and read.
func (n *node) user(name, configure, write, read string) {
	n.t.Helper()
	quoted := func(s string) string { return `<<"` + strings.ReplaceAll(s, `\`, `\\`) + `">>` }
	n.ctl("eval", "rabbit_auth_backend_internal:add_user("+strings.Join([]string{quoted(name), quoted("pass-of-" + name), quoted("test")}, ",")+
		"), rabbit_auth_backend_internal:set_permissions("+
		strings.Join([]string{quoted(name), quoted("/"), quoted(configure), quoted(write), quoted(read), quoted("test")}, ",")+").")
}

// TestOwnNode does what would disturb others on a shared broker.
func TestOwnNode(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	t.Run("definitions", n.definitions)
	t.Run("full queue", n.fullQueue)
	t.Run("full dead queue", n.fullDeadQueue)
	t.Run("rights", n.rights)
	t.Run("memory alarm", n.memoryAlarm)
}

// definitions imports the file an operator may import before Tandem comes.
func (n *node) definitions(t *testing.T) {
	n.ctl("add_vhost", "imported")
	n.ctl("set_permissions", "-p", "imported", "guest", ".*", ".*", ".*")
	b, err := os.ReadFile("../../deploy/rabbitmq/definitions.json")
	check(t, err)
	file := filepath.Join(t.TempDir(), "definitions.json")
	check(t, os.WriteFile(file, []byte(strings.ReplaceAll(string(b), `"/"`, `"imported"`)), 0o600))
	n.ctl("import_definitions", file)
	list := func(vhost string) string { return n.ctl("list_queues", "-p", vhost, "name", "type", "durable") }
	if imported, declared := list("imported"), list("/"); sortLines(imported) != sortLines(declared) || !strings.Contains(imported, messages.QueueSync) {
		t.Errorf("queues of the file:\n%sdeclared by the code:\n%s", imported, declared)
	}
	bindings := func(vhost string) string {
		return n.ctl("list_bindings", "-p", vhost, "source_name", "destination_name", "routing_key", "arguments")
	}
	if imported, declared := bindings("imported"), bindings("/"); sortLines(imported) != sortLines(declared) {
		t.Errorf("bindings of the file:\n%sdeclared by the code:\n%s", imported, declared)
	}
	// The broker compares every argument when the code declares its topology.
	check(t, opened(t, rabbit.Config{URL: n.url + "imported"}).Ready(t.Context()))
}

func sortLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// fullQueue: an operator's length limit makes the broker refuse messages.
func (n *node) fullQueue(t *testing.T) {
	n.ctl("set_policy", "short", "^tandem\\.reverse-sync$", `{"max-length":2}`, "--apply-to", "queues")
	b := opened(t, rabbit.Config{URL: n.url})
	var err error
	for i := 0; err == nil && i < 50; i++ { // a quorum queue notices a little late
		err = b.Publish(t.Context(), messages.Message{Key: messages.KeyReverse, Body: []byte("x")})
	}
	if fault.CodeOf(err) != rabbit.CodeRefused || fault.Of(err) != fault.Retryable {
		t.Errorf("a full queue gave %v", err)
	}
	check(t, b.Publish(t.Context(), job("another queue")))
	letters(t, n.url, messages.QueueReverse) // empties it
	until(t, "the queue to take messages", func() bool {
		return b.Publish(t.Context(), messages.Message{Key: messages.KeyReverse, Body: []byte("x")}) == nil
	})
}

// fullDeadQueue: the dead queue takes nothing more. A copy is refused, so that
// its message is given back and kept; it is taken once there is room.
func (n *node) fullDeadQueue(t *testing.T) {
	n.ctl("set_policy", "short-dead", "^tandem\\.dead$", `{"max-length":1,"overflow":"reject-publish"}`, "--apply-to", "queues")
	b := opened(t, rabbit.Config{URL: n.url})
	var err error
	for i := 0; err == nil && i < 50; i++ {
		err = b.PublishDead(t.Context(), []byte("copy"), "malformed")
	}
	if fault.CodeOf(err) != rabbit.CodeRefused || fault.Of(err) != fault.Retryable {
		t.Errorf("a full dead queue gave %v", err)
	}
	letters(t, n.url, messages.QueueDead) // empties it
	until(t, "the dead queue to take copies", func() bool { return b.PublishDead(t.Context(), []byte("copy"), "malformed") == nil })
}

// rights: a user who may only read is told what is missing by everything that
// connects, and by what looks the broker over; one with exactly the rights that
// are documented can do all.
func (n *node) rights(t *testing.T) {
	const own = `^tandem(\..*)?$`
	n.user("reader", "^$", "^$", ".*")
	n.user("tandem", own, `^(tandem(\..*)?|amq\.default)$`, own)
	as := func(user string) string { return strings.Replace(n.url, "guest:guest", user+":pass-of-"+user, 1) }

	b := opened(t, rabbit.Config{URL: as("reader")})
	h, _ := collect(messages.QueueSync)
	for name, err := range map[string]error{
		"Ready": b.Ready(t.Context()), "Publish": b.Publish(t.Context(), job("x")), "Run": b.Run(t.Context(), h),
	} {
		if fault.Of(err) != fault.Permanent || fault.CodeOf(err) != fault.CodeConfig || !strings.Contains(err.Error(), "may not declare") ||
			!strings.Contains(fault.HintOf(err), own) {
			t.Errorf("%s by a user who may only read: %v (%s)", name, err, fault.HintOf(err))
		}
	}
	r, err := rabbit.Examine(t.Context(), rabbit.Config{URL: as("reader")})
	check(t, err)
	for _, f := range append(r.Queues, r.Exchanges...) {
		if !f.Exists || fault.CodeOf(f.Err) != fault.CodeConfig || fault.HintOf(f.Err) == "" {
			t.Errorf("%s: exists %v, %v", f.Name, f.Exists, f.Err)
		}
	}

	b = opened(t, rabbit.Config{URL: as("tandem")})
	check(t, b.Ready(t.Context()))
	h, got := collect(messages.QueueSync)
	stop := start(t, b, h)
	check(t, b.Publish(t.Context(), job("by the book")))
	within(t, got, "a message by the user with the documented rights")
	check(t, b.PublishDead(t.Context(), []byte("copy"), "malformed"))
	stop()
	r, err = rabbit.Examine(t.Context(), rabbit.Config{URL: as("tandem")})
	check(t, err)
	for _, f := range append(r.Queues, r.Exchanges...) {
		if !f.Exists || f.Err != nil {
			t.Errorf("%s: exists %v, %v", f.Name, f.Exists, f.Err)
		}
	}
}

// memoryAlarm: publishing returns at its deadline, says why, writes nothing
// more while the alarm lasts, and goes on by itself. Consuming is not held up.
func (n *node) memoryAlarm(t *testing.T) {
	b := opened(t, rabbit.Config{URL: n.url, ConfirmTimeout: time.Second})
	h, got := collect(messages.QueueSyncNow)
	stop := start(t, b, h)
	now := func(body string) messages.Message {
		return messages.Message{Key: messages.KeySyncNow, Body: []byte(body)}
	}
	check(t, b.Publish(t.Context(), now("before")))
	within(t, got, "a message before the alarm")
	n.ctl("set_vm_memory_high_watermark", "0.00000001")
	for try := range 4 {
		began := time.Now()
		err := b.Publish(t.Context(), now("during "+strconv.Itoa(try)))
		if took := time.Since(began); took > 20*time.Second || fault.CodeOf(err) != rabbit.CodeBlocked || fault.Of(err) != fault.Retryable {
			t.Errorf("under the alarm: %v after %v", err, took)
		}
		if try > 0 && !strings.Contains(err.Error(), "memory") {
			t.Errorf("%q does not say what is short", err)
		}
	}
	if err := b.Ready(t.Context()); fault.CodeOf(err) != rabbit.CodeBlocked {
		t.Errorf("Ready under the alarm: %v", err)
	}
	n.ctl("set_vm_memory_high_watermark", "0.8")
	until(t, "publishing to go on", func() bool { return b.Publish(t.Context(), now("after")) == nil })
	seen := map[string]int{}
	for seen["after"] == 0 {
		seen[string(within(t, got, "a message after the alarm").Body)]++
	}
	for body := range seen {
		if body != "after" && body != "during 0" {
			t.Errorf("%q was written although the alarm was known", body)
		}
	}
	stop()
	t.Log("delivered once the alarm was over:", seen)
}
