package deploy_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The parts of Kubernetes' objects that the manifests use. Decoding is strict:
// a field that is misspelt, or in the wrong place, is in none of these.
type (
	object struct {
		APIVersion string            `yaml:"apiVersion"`
		Kind       string            `yaml:"kind"`
		Metadata   meta              `yaml:"metadata"`
		Data       map[string]string `yaml:"data"`
		Spec       yaml.Node         `yaml:"spec"`
	}
	meta struct {
		Name      string            `yaml:"name"`
		Namespace string            `yaml:"namespace"`
		Labels    map[string]string `yaml:"labels"`
	}
	selector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	}
	deployment struct {
		Replicas int      `yaml:"replicas"`
		Selector selector `yaml:"selector"`
		Strategy struct {
			RollingUpdate struct {
				MaxSurge       int `yaml:"maxSurge"`
				MaxUnavailable int `yaml:"maxUnavailable"`
			} `yaml:"rollingUpdate"`
		} `yaml:"strategy"`
		Template template `yaml:"template"`
	}
	job struct {
		BackoffLimit int      `yaml:"backoffLimit"`
		TTL          int      `yaml:"ttlSecondsAfterFinished"`
		Template     template `yaml:"template"`
	}
	template struct {
		Metadata meta `yaml:"metadata"`
		Spec     pod  `yaml:"spec"`
	}
	pod struct {
		AutomountToken  *bool `yaml:"automountServiceAccountToken"`
		ServiceLinks    *bool `yaml:"enableServiceLinks"`
		SecurityContext struct {
			NonRoot bool `yaml:"runAsNonRoot"`
			User    int  `yaml:"runAsUser"`
			Group   int  `yaml:"runAsGroup"`
			Seccomp struct {
				Type string `yaml:"type"`
			} `yaml:"seccompProfile"`
		} `yaml:"securityContext"`
		RestartPolicy string `yaml:"restartPolicy"`
		Grace         int    `yaml:"terminationGracePeriodSeconds"`
		Spread        []struct {
			MaxSkew  int      `yaml:"maxSkew"`
			Key      string   `yaml:"topologyKey"`
			When     string   `yaml:"whenUnsatisfiable"`
			Selector selector `yaml:"labelSelector"`
		} `yaml:"topologySpreadConstraints"`
		InitContainers []container `yaml:"initContainers"`
		Containers     []container `yaml:"containers"`
		Volumes        []struct {
			Name      string `yaml:"name"`
			ConfigMap struct {
				Name  string                       `yaml:"name"`
				Items []struct{ Key, Path string } `yaml:"items"`
			} `yaml:"configMap"`
		} `yaml:"volumes"`
	}
	container struct {
		Name  string   `yaml:"name"`
		Image string   `yaml:"image"`
		Args  []string `yaml:"args"`
		Env   []struct {
			Name  string `yaml:"name"`
			Value string `yaml:"value"`
			From  struct {
				Secret struct{ Name, Key string } `yaml:"secretKeyRef"`
			} `yaml:"valueFrom"`
		} `yaml:"env"`
		Ports []struct {
			Name string `yaml:"name"`
			Port int    `yaml:"containerPort"`
		} `yaml:"ports"`
		Startup   probe `yaml:"startupProbe"`
		Liveness  probe `yaml:"livenessProbe"`
		Readiness probe `yaml:"readinessProbe"`
		Lifecycle struct {
			PreStop struct {
				Sleep struct{ Seconds int } `yaml:"sleep"`
			} `yaml:"preStop"`
		} `yaml:"lifecycle"`
		Resources struct {
			Requests struct{ CPU, Memory string } `yaml:"requests"`
			Limits   struct{ Memory string }      `yaml:"limits"`
		} `yaml:"resources"`
		SecurityContext struct {
			Escalation   *bool                   `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRoot bool                    `yaml:"readOnlyRootFilesystem"`
			Capabilities struct{ Drop []string } `yaml:"capabilities"`
		} `yaml:"securityContext"`
		Mounts []struct {
			Name     string `yaml:"name"`
			Path     string `yaml:"mountPath"`
			ReadOnly bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	probe struct {
		Get struct {
			Path string `yaml:"path"`
			Port string `yaml:"port"`
		} `yaml:"httpGet"`
		Period   int `yaml:"periodSeconds"`
		Timeout  int `yaml:"timeoutSeconds"`
		Failures int `yaml:"failureThreshold"`
	}
	budget struct {
		MinAvailable   int      `yaml:"minAvailable"`
		MaxUnavailable int      `yaml:"maxUnavailable"`
		Selector       selector `yaml:"selector"`
	}
	service struct {
		Selector map[string]string `yaml:"selector"`
		Ports    []struct {
			Name   string `yaml:"name"`
			Port   int    `yaml:"port"`
			Target string `yaml:"targetPort"`
		} `yaml:"ports"`
	}
)

// strictly decodes a document, unknown fields being errors.
func strictly(t *testing.T, what string, from io.Reader, into any) bool {
	t.Helper()
	dec := yaml.NewDecoder(from)
	dec.KnownFields(true)
	err := dec.Decode(into)
	if errors.Is(err, io.EOF) {
		return false
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return true
}

// spec decodes the spec of an object strictly.
func (o object) spec(t *testing.T, into any) {
	t.Helper()
	b, err := yaml.Marshal(&o.Spec)
	if err != nil {
		t.Fatal(err)
	}
	strictly(t, o.Kind+" "+o.Metadata.Name, strings.NewReader(string(b)), into)
}

// manifests gives the objects of every file that the kustomization names, and
// sees to it that it names all.
func manifests(t *testing.T) map[string]object {
	t.Helper()
	var k struct {
		APIVersion string   `yaml:"apiVersion"`
		Kind       string   `yaml:"kind"`
		Namespace  string   `yaml:"namespace"`
		Resources  []string `yaml:"resources"`
		Images     []struct {
			Name string `yaml:"name"`
			Tag  string `yaml:"newTag"`
		} `yaml:"images"`
	}
	strictly(t, "kustomization", strings.NewReader(text(t, "kubernetes/kustomization.yaml")), &k)
	found, err := filepath.Glob("kubernetes/*.yaml")
	if err != nil || len(found) != len(k.Resources)+1 {
		t.Errorf("%d files and %d resources (%v)", len(found), len(k.Resources), err)
	}
	out := map[string]object{}
	for _, name := range k.Resources {
		f, err := os.Open(filepath.Join("kubernetes", name))
		if err != nil {
			t.Fatal(err)
		}
		dec := yaml.NewDecoder(f)
		dec.KnownFields(true)
		for {
			var o object
			if err = dec.Decode(&o); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if o.Metadata.Namespace != "tandem" && o.Kind != "Namespace" {
				t.Errorf("%s %s is in namespace %q", o.Kind, o.Metadata.Name, o.Metadata.Namespace)
			}
			out[o.Kind+"/"+o.Metadata.Name] = o
		}
		_ = f.Close() // read only
	}
	return out
}

var roleNames = []string{"worker", "scheduler", "relay", "web"}

func TestKubernetesRoles(t *testing.T) {
	t.Parallel()
	all := manifests(t)
	for _, role := range roleNames {
		var d deployment
		o := all["Deployment/tandem-"+role]
		if o.APIVersion != "apps/v1" {
			t.Fatalf("no deployment of %s", role)
		}
		o.spec(t, &d)
		if got := d.Template.Metadata.Labels; !same(got, d.Selector.MatchLabels) || got["app.kubernetes.io/component"] != role {
			t.Errorf("%s: labels %v, selector %v", role, got, d.Selector.MatchLabels)
		}
		if d.Replicas < 2 || d.Strategy.RollingUpdate.MaxSurge != 1 || d.Strategy.RollingUpdate.MaxUnavailable != 0 {
			t.Errorf("%s: %d replicas, %+v", role, d.Replicas, d.Strategy)
		}
		// A drain takes 60 seconds at most, after the pause before it.
		c := d.Template.Spec.Containers[0]
		if need := 60 + c.Lifecycle.PreStop.Sleep.Seconds; d.Template.Spec.Grace <= need {
			t.Errorf("%s: grace %d s, a drain may take %d", role, d.Template.Spec.Grace, need)
		}
		secure(t, role, d.Template.Spec)
		probed(t, role, c)
		var b budget
		all["PodDisruptionBudget/tandem-"+role].spec(t, &b)
		if !same(b.Selector.MatchLabels, d.Selector.MatchLabels) || b.MinAvailable+b.MaxUnavailable != 1 {
			t.Errorf("%s: disruption budget %+v", role, b)
		}
	}
	var s service
	all["Service/tandem-web"].spec(t, &s)
	if s.Selector["app.kubernetes.io/component"] != "web" || len(s.Ports) != 1 || s.Ports[0].Target != "http" {
		t.Errorf("service %+v", s)
	}
}

func same(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

// secure: no root, no rights, nothing to write to, secrets by reference only.
func secure(t *testing.T, what string, p pod) {
	t.Helper()
	sc := p.SecurityContext
	if !sc.NonRoot || sc.User != 65532 || sc.Seccomp.Type != "RuntimeDefault" || p.AutomountToken == nil || *p.AutomountToken {
		t.Errorf("%s: the pod has %+v", what, sc)
	}
	for _, c := range slices.Concat(p.InitContainers, p.Containers) {
		s := c.SecurityContext
		if s.Escalation == nil || *s.Escalation || !s.ReadOnlyRoot || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) {
			t.Errorf("%s/%s may too much: %+v", what, c.Name, s)
		}
		if c.Resources.Limits.Memory == "" || c.Resources.Requests.CPU == "" || c.Resources.Requests.Memory == "" {
			t.Errorf("%s/%s has no resources", what, c.Name)
		}
		for _, m := range c.Mounts {
			if !m.ReadOnly {
				t.Errorf("%s/%s may write to %s", what, c.Name, m.Path)
			}
		}
		for _, e := range c.Env {
			if e.Name != "TANDEM_LISTEN" && e.Name != "GOMEMLIMIT" && (e.Value != "" || e.From.Secret.Name == "" || e.From.Secret.Key == "") {
				t.Errorf("%s/%s: %s does not come from a secret", what, c.Name, e.Name)
			}
		}
	}
}

// probed: the probes ask the port that the arguments open, liveness for nothing
// but the process, readiness for all.
func probed(t *testing.T, role string, c container) {
	t.Helper()
	address := after(c.Args, "--health")
	for _, e := range c.Env {
		if e.Name == "TANDEM_LISTEN" {
			address = e.Value
		}
	}
	if len(c.Ports) != 1 || !strings.HasSuffix(address, ":"+itoa(c.Ports[0].Port)) {
		t.Fatalf("%s: ports %+v, it listens at %q", role, c.Ports, address)
	}
	for path, probes := range map[string][]probe{"/healthz": {c.Startup, c.Liveness}, "/readyz": {c.Readiness}} {
		for _, p := range probes {
			if p.Get.Path != path || p.Get.Port != c.Ports[0].Name || p.Period < 1 || p.Failures < 1 {
				t.Errorf("%s: probe %+v, want %s at %s", role, p, path, c.Ports[0].Name)
			}
		}
	}
	// /readyz gives the database and the broker five seconds.
	if c.Readiness.Timeout <= 5 {
		t.Errorf("%s: readiness has %d s", role, c.Readiness.Timeout)
	}
}

func TestKubernetesSetup(t *testing.T) {
	t.Parallel()
	all := manifests(t)
	var j job
	all["Job/tandem-setup"].spec(t, &j)
	p := j.Template.Spec
	secure(t, "setup", p)
	if len(p.InitContainers) != 1 || p.InitContainers[0].Args[0] != "migrate" || len(p.Containers) != 1 || p.Containers[0].Args[0] != "apply" {
		t.Errorf("the job does %v, then %v", p.InitContainers, p.Containers)
	}
	for name, o := range all {
		if o.Kind != "Deployment" {
			continue
		}
		var d deployment
		o.spec(t, &d)
		for _, e := range d.Template.Spec.Containers[0].Env {
			if e.From.Secret.Name == "tandem-remotes" {
				t.Errorf("%s has the credential %s of a remote, which only apply needs", name, e.Name)
			}
		}
	}
	data := all["ConfigMap/tandem"].Data
	for _, name := range []string{"tandem.yaml", "channels.yaml"} {
		if data[name] != text(t, "config/"+name) {
			t.Errorf("%s in the config map is not config/%s:\n%s", name, name, data[name])
		}
	}
	if ns := all["Namespace/tandem"]; ns.Metadata.Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
		t.Errorf("namespace %+v", ns.Metadata)
	}
}
