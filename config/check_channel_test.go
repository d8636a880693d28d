package config

import (
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/channels"
)

// calling is a channel type that brings operations of its own.
type calling struct{ fake }

func (c calling) Info() channels.Info {
	i := c.fake.Info()
	i.Operations = []string{"account"}
	return i
}

// A channel may have connectors, operations or both.
func TestChannelNeedsConnectorsOrOperations(t *testing.T) {
	t.Parallel()
	reg := registry(t)
	if err := reg.Register(calling{fake{"crm"}}); err != nil {
		t.Fatal(err)
	}
	const head = "channels:\n  - name: a\n    transport: {base_url: x}\n"
	for name, tc := range map[string]struct{ more, problem string }{
		"operations of the type":           {"    type: crm\n", ""},
		"operations of the file":           {"    type: rest\n    operations: [{name: x, path: /x}]\n", ""},
		"neither":                          {"    type: rest\n", "channels[0].connectors: the channel has no connector"},
		"a type that has none":             {"    type: hubspot\n", "channels[0].connectors: the channel has no connector"},
		"no such type":                     {"    type: crn\n", "channels[0].connectors: the channel has no connector"},
		"operations beside the type's own": {"    type: crm\n    operations: [{name: x}]\n", "type crm brings its own operations"},
	} {
		f, ps := Parse("tandem.yaml", []byte(head+tc.more), env(nil))
		if len(ps) > 0 {
			t.Fatalf("%s: %v", name, ps)
		}
		ps = f.Check(reg)
		if tc.problem == "" && len(ps) > 0 || tc.problem != "" && !strings.Contains(ps.Error(), tc.problem) {
			t.Errorf("%s: %v", name, ps)
		}
	}
}

func TestNotifyVariable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		database, said string
		notify, ok     bool
	}{
		{"postgres://localhost/x", "", false, true},
		{"postgres://localhost/x", "off", false, true},
		{"postgres://localhost/x", "on", true, true},
		{"postgres://localhost/x", "yes", false, false},
		{"sqlite:x.db", "off", false, true},
		{"sqlite:x.db", "on", true, false},
	} {
		f, ps := Parse("t.yaml", []byte("database: "+c.database+"\nsecret_key: q83vEjRWeJq83vEjRWeJq83vEjRWeJq83vEjRWeJq80=\n"),
			env(map[string]string{notifyVariable: c.said}))
		ps = ps.And(f.Check(registry(t)))
		if f.Notify != c.notify || (len(ps) == 0) != c.ok {
			t.Errorf("%s with %q: notify %t, problems %v", c.database, c.said, f.Notify, ps)
		}
	}
}
