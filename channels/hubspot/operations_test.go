package hubspot_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	emulator "github.com/tandem-sync/tandem/emulate/hubspot"
	"github.com/tandem-sync/tandem/fault"
)

func TestOperations(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{TimeZone: "Europe/Berlin", Limits: emulator.Limits{Burst: -1, Daily: 250_000, Search: -1}}, "")
	id := a.Create(map[string]string{"email": "ada+1@example.com", "firstname": "Ada", "phone": "1"})
	a.Advance(time.Hour)
	a.Edit(map[string]string{"phone": "2"}, id)
	var op channels.Operator = a.ch
	names := ""
	for _, o := range op.Operations() {
		names += o.Name + " "
		if o.Summary == "" || !o.Repeats || o.Params == nil {
			t.Errorf("%+v", o)
		}
	}
	if names != "account contact properties usage " {
		t.Errorf("operations %q", names)
	}
	for _, tc := range []struct {
		name   string
		params map[string]string
		want   []string
	}{
		{"account", nil, []string{`"timeZone":"Europe/Berlin"`, `"portalId":1234567`}},
		{"usage", nil, []string{`"usageLimit":250000`, `"resetsAt"`}},
		{"properties", nil, []string{`"name":"firstname"`, `"name":"lastmodifieddate"`}},
		{"contact", map[string]string{"id": id}, []string{`"id":"` + id + `"`}},
		{"contact", map[string]string{"email": "ada+1@example.com", "properties": "firstname,phone", "history": "phone"}, []string{
			`"firstname":"Ada"`, `"propertiesWithHistory":{"phone":[{"value":"2"`, `"value":"1"`,
		}},
	} {
		got, err := op.Call(t.Context(), tc.name, tc.params)
		if err != nil {
			t.Errorf("%s %v: %v", tc.name, tc.params, err)
			continue
		}
		if !json.Valid(got) {
			t.Errorf("%s: no JSON: %s", tc.name, got)
		}
		for _, w := range tc.want {
			if !strings.Contains(string(got), w) {
				t.Errorf("%s %v lacks %s:\n%s", tc.name, tc.params, w, got)
			}
		}
	}
}

func TestOperationsThatFail(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	for name, tc := range map[string]struct {
		op     string
		params map[string]string
		fault  []emulator.Fault
		code   string
		text   string
	}{
		"unknown":       {op: "acount", code: fault.CodeNotFound, text: "acount"},
		"no identity":   {op: "contact", code: fault.CodeUsage, text: "either id or email"},
		"two":           {op: "contact", params: map[string]string{"id": "1", "email": "a@example.com"}, code: fault.CodeUsage, text: "either id or email"},
		"no number":     {op: "contact", params: map[string]string{"id": "../search"}, code: fault.CodeUsage, text: "no number"},
		"not there":     {op: "contact", params: map[string]string{"id": "7"}, code: fault.CodeNotFound, text: "resource not found"},
		"HTML":          {op: "account", fault: []emulator.Fault{emulator.HTML().For(9)}, code: fault.CodeBadAnswer, text: "not JSON"},
		"tells a token": {op: "account", fault: []emulator.Fault{emulator.Status(400, "VALIDATION_ERROR", "not "+token)}, code: "refused", text: "not "},
	} {
		t.Run(name, func(t *testing.T) {
			a.Inject(tc.fault...)
			_, err := a.ch.Call(t.Context(), tc.op, tc.params)
			if err == nil || fault.CodeOf(err) != tc.code || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%q %v, want %q with %q", fault.CodeOf(err), err, tc.code, tc.text)
			}
			if err != nil && strings.Contains(err.Error(), token) {
				t.Errorf("the token is in %v", err)
			}
			a.Heal()
		})
	}
	// A remote that repeats the token in an answer does not get it printed.
	a.Inject(emulator.Body(`{"sent":"` + token + `"}`))
	if got, err := a.ch.Call(t.Context(), "account", nil); err != nil || strings.Contains(string(got), token) {
		t.Errorf("%s %v", got, err)
	}
}

func TestQuotaAsAList(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{Limits: emulator.Limits{Burst: 190, Daily: 650_000, Search: -1}}, "")
	b := connect(t, a.Portal, a.url, `,"time_zone":"Europe/Berlin"`, "")
	if got := a.ch.Quota(); got != nil {
		t.Errorf("%+v before the first answer", got)
	}
	for _, c := range []*account{a, b} {
		if err := c.ch.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	burst := channels.Quota{Name: "calls per 10s", Limit: 190, Left: 189, Resets: morning.Add(10 * time.Second)}
	day := channels.Quota{Name: "calls per day", Limit: 650_000, Left: 649_999}
	if got := a.ch.Quota(); len(got) != 2 || got[0] != burst || got[1] != day {
		t.Errorf("%+v", got)
	}
	got := b.ch.Quota()
	if midnight := time.Date(2026, 11, 24, 23, 0, 0, 0, time.UTC); len(got) != 2 || got[1].Left != 649_998 || !got[1].Resets.Equal(midnight) {
		t.Errorf("%+v, want the day to end at %v", got, midnight)
	}
}
