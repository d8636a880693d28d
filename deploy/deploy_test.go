// Package deploy_test checks the files of this folder against the program: each
// is parsed strictly, and every command in them is given to the real binary.
package deploy_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	_ "github.com/tandem-sync/tandem/channels/all"
	"github.com/tandem-sync/tandem/config"
)

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func itoa(n int) string { return strconv.Itoa(n) }

// after gives the argument that follows name.
func after(args []string, name string) string {
	if i := slices.Index(args, name); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

// environment is complete, with a database that nobody listens for.
func environment() map[string]string {
	return map[string]string{
		"TANDEM_DATABASE": "postgres://tandem:x@127.0.0.1:1/tandem?sslmode=disable", "TANDEM_BROKER": "amqps://tandem:x@rabbitmq.example.com/",
		"TANDEM_SECRET_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "TANDEM_API_TOKEN": "a-token-for-tests-0123456789", "CRM_TOKEN": "x",
	}
}

// TestConfigurations: the example files are accepted as they stand, and the
// program asks the environment for every name that the installations give it.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	asked := map[string]bool{"GOMEMLIMIT": true} // Go's own
	for _, name := range []string{"tandem.yaml", "channels.yaml", "compose.yaml"} {
		env := environment()
		_, problems := config.Validate(filepath.Join("config", name), func(k string) (string, bool) {
			asked[k] = true
			v, ok := env[k]
			return v, ok
		}, channels.Default)
		if err := problems.Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, c := range containers(t) {
		for name := range c.env {
			if !asked[name] {
				t.Errorf("%s is given %s, which nothing reads", c.name, name)
			}
		}
		for name := range config.Variables() {
			if v := config.Variables()[name]; name != "listen" {
				if _, ok := c.env[v]; !ok {
					t.Errorf("%s is not given %s", c.name, v)
				}
			}
		}
	}
}

// given is a process that one of the installations starts.
type given struct {
	name string
	args []string
	env  map[string]string // names; values where they are not secret
}

// containers gives the processes of Kubernetes and compose.
func containers(t *testing.T) []given {
	t.Helper()
	var out []given
	add := func(where string, c container) {
		g := given{name: where + "/" + c.Name, args: c.Args, env: map[string]string{}}
		for _, e := range c.Env {
			g.env[e.Name] = e.Value
		}
		out = append(out, g)
	}
	for name, o := range manifests(t) {
		switch o.Kind {
		case "Deployment":
			var d deployment
			o.spec(t, &d)
			add(name, d.Template.Spec.Containers[0])
		case "Job":
			var j job
			o.spec(t, &j)
			add(name, j.Template.Spec.InitContainers[0])
			add(name, j.Template.Spec.Containers[0])
		}
	}
	for name, s := range compose(t).Services {
		if len(s.Command) > 0 {
			out = append(out, given{name: "compose/" + name, args: s.Command, env: s.Environment})
		}
	}
	return out
}

// build makes the program as the Dockerfile says, but for flags that would have
// all of it compiled once more.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "tandem")
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	set := regexp.MustCompile(`-ldflags "-s -w (-X \S+=)\$VERSION"`).FindStringSubmatch(text(t, "Dockerfile"))
	if set == nil {
		t.Fatal("the Dockerfile sets no version")
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", set[1]+"v9.8.7", "-o", program, "../cmd/tandem")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// TestCommands gives every command of the installations to the program. Without
// a database each must get as far as missing it (exit code 3): a wrong flag, role
// or configuration ends with 2.
func TestCommands(t *testing.T) {
	t.Parallel()
	program := build(t)
	out, err := exec.CommandContext(t.Context(), program, "version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "v9.8.7") {
		t.Errorf("version: %s %v", out, err)
	}
	roles := map[string]int{}
	for _, c := range containers(t) {
		args := slices.Clone(c.args)
		for i, a := range args {
			if name, ok := strings.CutPrefix(a, "/etc/tandem/"); ok {
				args[i] = "config/" + name
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Env = []string{"HOME=" + t.TempDir()}
		full := environment()
		for name, value := range c.env {
			if v, ok := full[name]; ok {
				value = v
			}
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		out, err := cmd.CombinedOutput()
		cancel()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 3 {
			t.Errorf("%s: tandem %s: %v, want exit code 3\n%s", c.name, strings.Join(args, " "), err, out)
		}
		roles[after(args, "--roles")]++
	}
	for _, role := range roleNames {
		if roles[role] != 2 {
			t.Errorf("role %s is started %d times, want once by Kubernetes and once by compose", role, roles[role])
		}
	}
}

// instruction is one of a Dockerfile, its continued lines joined.
type instruction struct{ name, rest string }

func dockerfile(t *testing.T) (stages [][]instruction) {
	t.Helper()
	known := []string{"FROM", "ARG", "WORKDIR", "COPY", "RUN", "LABEL", "USER", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
	joined := strings.ReplaceAll(text(t, "Dockerfile"), "\\\n", " ")
	for line := range strings.Lines(joined) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		if !slices.Contains(known, name) {
			t.Errorf("instruction %q", line)
		}
		if name == "FROM" {
			stages = append(stages, nil)
		}
		last := len(stages) - 1
		stages[last] = append(stages[last], instruction{name, strings.Join(strings.Fields(rest), " ")})
	}
	return stages
}

func TestDockerfile(t *testing.T) {
	t.Parallel()
	stages := dockerfile(t)
	if len(stages) != 2 {
		t.Fatalf("%d stages, want one that builds and one that runs", len(stages))
	}
	get := func(stage int, name string) (all []string) {
		for _, i := range stages[stage] {
			if i.name == name {
				all = append(all, i.rest)
			}
		}
		return all
	}
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(text(t, "../go.mod"))[1]
	if from := get(0, "FROM"); !strings.Contains(from[0], "golang:"+goVersion+"-") {
		t.Errorf("it is built with %q, go.mod asks for %s", from, goVersion)
	}
	if run := strings.Join(get(0, "RUN"), "\n"); !strings.Contains(run, "CGO_ENABLED=0") || !strings.Contains(run, "./cmd/tandem") || !strings.Contains(run, "-trimpath") {
		t.Errorf("the build: %s", run)
	}
	for name, want := range map[string]string{
		"USER": "65532:65532", "ENTRYPOINT": `["/usr/local/bin/tandem"]`, "CMD": `["run"]`, "EXPOSE": "8080 8081", "STOPSIGNAL": "SIGTERM",
	} {
		if got := get(1, name); !slices.Equal(got, []string{want}) {
			t.Errorf("%s %q, want %q", name, got, want)
		}
	}
	if len(get(1, "RUN")) > 0 {
		t.Error("the last stage runs something: it has no shell")
	}
	for _, c := range get(1, "COPY") {
		if !strings.HasPrefix(c, "--from=build ") {
			t.Errorf("the last stage takes %q from the source", c)
		}
	}
	// What is no source, and above all no secret, stays outside.
	ignored := strings.Fields(text(t, "Dockerfile.dockerignore"))
	for _, name := range []string{".git", ".env", "*.key", "*.db", "tandem.yaml"} {
		if !slices.Contains(ignored, name) {
			t.Errorf("%s gets into the build", name)
		}
	}
}

// unit parses a systemd unit: sections, keys, values; a key may come again.
func unit(t *testing.T, content string) map[string][]string {
	t.Helper()
	out, section := map[string][]string{}, ""
	s := bufio.NewScanner(strings.NewReader(content))
	for s.Scan() {
		line := strings.TrimSpace(s.Text())
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[' && line[len(line)-1] == ']':
			section = line[1:len(line)-1] + "."
		default:
			key, value, ok := strings.Cut(line, "=")
			if !ok || section == "" || strings.TrimSpace(key) != key {
				t.Errorf("line %q", line)
			}
			out[section+key] = append(out[section+key], value)
		}
	}
	return out
}

func TestSystemdUnit(t *testing.T) {
	t.Parallel()
	content := text(t, "systemd/tandem.service")
	u := unit(t, content)
	for key, want := range map[string]string{
		"Service.Type": "exec", "Service.DynamicUser": "yes", "Service.StateDirectory": "tandem", "Service.NoNewPrivileges": "yes",
		"Service.ProtectSystem": "strict", "Service.ProtectHome": "yes", "Service.PrivateTmp": "yes", "Service.PrivateDevices": "yes",
		"Service.CapabilityBoundingSet": "", "Service.MemoryDenyWriteExecute": "yes", "Service.RestrictNamespaces": "yes", "Service.UMask": "0077",
		"Service.Restart": "on-failure", "Service.RestartPreventExitStatus": "2", "Service.KillSignal": "SIGTERM", "Install.WantedBy": "multi-user.target",
		"Service.ExecStart":   "/usr/local/bin/tandem run -c /etc/tandem/tandem.yaml",
		"Service.Environment": config.Variables()["database"] + "=sqlite:/var/lib/tandem/tandem.db",
	} {
		if got := u[key]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if s, err := strconv.Atoi(strings.Join(u["Service.TimeoutStopSec"], "")); err != nil || s <= 60 {
		t.Errorf("TimeoutStopSec %v: a drain takes 60 seconds at most", u["Service.TimeoutStopSec"])
	}
	verifyUnit(t, content)
}

// verifyUnit has systemd itself read the unit where it is at hand. The program
// need not be installed for that.
func verifyUnit(t *testing.T, content string) {
	t.Helper()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("no systemd here: its own opinion on the unit was not asked for")
		return
	}
	path := filepath.Join(t.TempDir(), "tandem.service")
	if err := os.WriteFile(path, []byte(strings.Replace(content, "/usr/local/bin/tandem", "/bin/true", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", path).CombinedOutput()
	for line := range bytes.Lines(out) {
		if bytes.Contains(line, []byte("tandem.service")) {
			t.Errorf("systemd-analyze: %s", line)
		}
	}
	if err != nil {
		t.Errorf("systemd-analyze: %v: %s", err, out)
	}
}

// TestReadmeNamesWhatIsThere: the list of metrics is the program's, and every
// file that is linked exists.
func TestReadmeNamesWhatIsThere(t *testing.T) {
	t.Parallel()
	readme := text(t, "README.md")
	for _, m := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(readme, -1) {
		if _, err := os.Stat(m[1]); err != nil && !strings.HasPrefix(m[1], "https://") {
			t.Errorf("linked and not there: %s", m[1])
		}
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(tandem_[a-z_]+)`").FindAllStringSubmatch(readme, -1) {
		listed[m[1]] = true
	}
	for name := range metricNames(t) {
		if !listed[name] {
			t.Errorf("%s is not in the README", name)
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("the README lists %s, which there is not", name)
	}
	if v := config.Variables()["secret_key"]; !strings.Contains(readme, fmt.Sprintf("| `%s` |", v)) {
		t.Errorf("the README does not name %s", v)
	}
}
