package deploy_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-sync/tandem/internal/metrics"
	"github.com/tandem-sync/tandem/store"
)

// The parts of a compose file that ours uses, decoded strictly.
type (
	composeFile struct {
		Name     string                    `yaml:"name"`
		XTandem  yaml.Node                 `yaml:"x-tandem"`
		Services map[string]composeService `yaml:"services"`
		Volumes  map[string]*struct{}      `yaml:"volumes"`
	}
	composeService struct {
		Image       string                                `yaml:"image"`
		Build       struct{ Context, Dockerfile string }  `yaml:"build"`
		Hostname    string                                `yaml:"hostname"`
		Command     []string                              `yaml:"command"`
		Environment map[string]string                     `yaml:"environment"`
		Volumes     []string                              `yaml:"volumes"`
		Ports       []string                              `yaml:"ports"`
		ReadOnly    bool                                  `yaml:"read_only"`
		User        string                                `yaml:"user"`
		CapDrop     []string                              `yaml:"cap_drop"`
		SecurityOpt []string                              `yaml:"security_opt"`
		Restart     string                                `yaml:"restart"`
		Grace       time.Duration                         `yaml:"stop_grace_period"`
		DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
		Healthcheck struct {
			Test              []string
			Interval, Timeout time.Duration
			Retries           int
		} `yaml:"healthcheck"`
	}
)

func compose(t *testing.T) composeFile {
	t.Helper()
	var f composeFile
	strictly(t, "compose.yaml", strings.NewReader(text(t, "compose.yaml")), &f)
	return f
}

func TestCompose(t *testing.T) {
	t.Parallel()
	f := compose(t)
	for _, name := range slices.Concat(roleNames, []string{"migrate", "setup"}) {
		s, ok := f.Services[name]
		if !ok {
			t.Fatalf("no service %s", name)
		}
		if !s.ReadOnly || s.User != "65532:65532" || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s may too much: %+v", name, s)
		}
		if s.Build.Context != ".." || s.Build.Dockerfile != "deploy/Dockerfile" || s.Grace <= time.Minute {
			t.Errorf("%s: build %+v, grace %s", name, s.Build, s.Grace)
		}
	}
	for _, role := range roleNames {
		s := f.Services[role]
		for on, want := range map[string]string{"setup": "service_completed_successfully", "postgres": "service_healthy", "rabbitmq": "service_healthy"} {
			if s.DependsOn[on].Condition != want {
				t.Errorf("%s starts when %s is %q, want %q", role, on, s.DependsOn[on].Condition, want)
			}
		}
		if after(s.Command, "--roles") != role || s.Restart != "unless-stopped" {
			t.Errorf("%s runs %v, restart %q", role, s.Command, s.Restart)
		}
		if _, ok := s.Environment["CRM_TOKEN"]; ok {
			t.Errorf("%s has the credential of a remote", role)
		}
	}
	if s := f.Services["setup"]; s.DependsOn["migrate"].Condition != "service_completed_successfully" || s.Restart != "no" {
		t.Errorf("setup %+v", s)
	}
	for _, name := range []string{"postgres", "rabbitmq"} {
		if s := f.Services[name]; len(s.Healthcheck.Test) < 2 || s.Healthcheck.Retries < 1 || len(s.Ports) > 0 {
			t.Errorf("%s: health check %+v, ports %v", name, s.Healthcheck, s.Ports)
		}
	}
	if p := f.Services["web"].Ports; !slices.Equal(p, []string{"127.0.0.1:8080:8080"}) {
		t.Errorf("the pages are open at %v", p)
	}
}

// TestComposeSecrets: no secret has a default, and env.example names each.
func TestComposeSecrets(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`\$\{([A-Z_]+)([^}]*)\}`).FindAllStringSubmatch(text(t, "compose.yaml"), -1) {
		if m[1] == "TANDEM_IMAGE" {
			continue
		}
		used[m[1]] = true
		if !strings.HasPrefix(m[2], ":?") {
			t.Errorf("%s may be missing without anybody being told", m[0])
		}
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([A-Z_]+)=\s*(#|$)`).FindAllStringSubmatch(text(t, "env.example"), -1) {
		named[m[1]] = true
	}
	for name := range used {
		if !named[name] {
			t.Errorf("env.example does not name %s", name)
		}
	}
	if len(used) != len(named) || len(used) < 5 {
		t.Errorf("compose uses %v, env.example names %v", used, named)
	}
}

// metricNames gives the names of Tandem's metrics, from a scrape.
func metricNames(t *testing.T) map[string]bool {
	t.Helper()
	m := metrics.New(metrics.Config{})
	m.FromDatabase(func(context.Context) (store.Stats, error) {
		return store.Stats{Runs: map[store.Status]int64{store.StatusPlanned: 1}}, nil
	}, nil)
	m.RunEnded(store.RunEnd{Kind: store.KindSync, Status: store.StatusFinished, Took: time.Second})
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	out := map[string]bool{}
	for _, f := range regexp.MustCompile(`(?m)^# TYPE (tandem_\S+)`).FindAllStringSubmatch(w.Body.String(), -1) {
		out[f[1]] = true
	}
	if len(out) < 10 {
		t.Fatalf("only %v are there", out)
	}
	return out
}
