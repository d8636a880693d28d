package messages_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/messages"
)

var now = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

func at(s string) *time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	t = t.UTC()
	return &t
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, body string
		want       messages.Job
	}{
		{"smallest", `{"v":1,"type":"sync","channel":"crm"}`, messages.Job{V: 1, Type: "sync", Channel: "crm"}},
		{
			"reverse by hand", `{"v":1,"type":"reverse-sync","channel":"crm","connectors":["contacts"],"local_ids":["42"]}`,
			messages.Job{V: 1, Type: "reverse-sync", Channel: "crm", Connectors: []string{"contacts"}, LocalIDs: []string{"42"}},
		},
		{
			"ids keep every digit", `{"v":1,"type":"sync","channel":"c","remote_ids":[9007199254740993,"007",-5,123456789012345678901234567890]}`,
			messages.Job{V: 1, Type: "sync", Channel: "c", RemoteIDs: []string{"9007199254740993", "007", "-5", "123456789012345678901234567890"}},
		},
		{
			"everything",
			` { "v" : 1, "type":"sync","id":"a-1","channel":"crm","connectors":["a","b"],"mode":"full","start":"2h","end":"2026-03-29 11:30:00",` +
				`"remote_ids":["x"],"local_ids":[1],"params":{"k":"v"},"flags":["dry_run","force","no_push","no_pull"],"run":9223372036854775807,"slice":7}` + "\n",
			messages.Job{
				V: 1, Type: "sync", ID: "a-1", Channel: "crm", Connectors: []string{"a", "b"}, Mode: "full",
				Start: at("2026-03-29T10:00:00Z"), End: at("2026-03-29T11:30:00Z"),
				RemoteIDs: []string{"x"}, LocalIDs: []string{"1"}, Params: map[string]string{"k": "v"},
				Flags: []string{"dry_run", "force", "no_push", "no_pull"}, Run: 9223372036854775807, Slice: 7,
			},
		},
		{
			"offset becomes UTC", `{"v":1,"type":"sync","channel":"c","start":"2026-03-29T03:00:00.5+02:00"}`,
			messages.Job{V: 1, Type: "sync", Channel: "c", Start: at("2026-03-29T01:00:00.5Z")},
		},
		{"escapes", `{"v":1,"type":"\u0073ync","channel":"\u00e9"}`, messages.Job{V: 1, Type: "sync", Channel: "é"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := messages.Decode([]byte(tc.body), now)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

func TestDecodeRejects(t *testing.T) {
	t.Parallel()
	sync := func(more string) string { return `{"v":1,"type":"sync","channel":"c",` + more + `}` }
	for _, tc := range []struct{ name, body, reason, detail string }{
		{"nothing", "", "malformed", "empty body"},
		{"blank", " \n", "malformed", "empty body"},
		{"not JSON", "sync crm", "malformed", "at byte 0"},
		{"array", `[{"v":1}]`, "malformed", "the top"},
		{"null", `null`, "malformed", "not a JSON object"},
		{"cut", `{"v":1,"type":"sync"`, "malformed", "at byte"},
		{"second object", `{"v":1,"type":"sync","channel":"c"}{}`, "malformed", "after top-level value"},
		{"trailing text", `{"v":1,"type":"sync","channel":"c"} x`, "malformed", "after top-level value"},
		{"byte order mark", "\ufeff" + `{"v":1,"type":"sync","channel":"c"}`, "malformed", "at byte 0"},
		{"bad UTF-8", "{\"v\":1,\"type\":\"sync\",\"channel\":\"\xff\"}", "malformed", "UTF-8"},
		{"lone surrogate", sync(`"id":"\ud800"`), "malformed", "at byte"},
		{"NUL", sync(`"id":"a\u0000b"`), "malformed", "NUL character at /id"},
		{"NUL in a key", sync(`"params":{"\u0000":"x"}`), "malformed", "NUL character"},
		{"too deep", strings.Repeat(`{"a":`, 600), "malformed", ""},
		{"unknown field", sync(`"color":"red"`), "malformed", "/color"},
		{"unknown field inside another case", sync(`"Channel":"d"`), "malformed", "/Channel"},
		{"duplicate key", sync(`"channel":"d"`), "malformed", "channel"},
		{"duplicate key in params", sync(`"params":{"a":"1","a":"2"}`), "malformed", "duplicate"},
		{"no version", `{"type":"sync","channel":"c"}`, "malformed", "/v is missing"},
		{"version as text", `{"v":"1","type":"sync","channel":"c"}`, "malformed", "/v is not an integer"},
		{"version as fraction", `{"v":1.0,"type":"sync","channel":"c"}`, "malformed", "/v is not an integer"},
		{"no type", `{"v":1,"channel":"c"}`, "malformed", "/type is missing"},
		{"type is a number", `{"v":1,"type":1,"channel":"c"}`, "malformed", "/type is not a string"},
		{"newer version", `{"v":2,"kind":{"of":null}}`, "unsupported_version", "version 2"},
		{"newer version with new fields", `{"v":2,"task":"sync"}`, "unsupported_version", "version 2, this program speaks 1"},
		{"version zero", `{"v":0,"type":"sync","channel":"c"}`, "unsupported_version", "version 0"},
		{"huge version", `{"v":99999999999999999999,"type":"sync","channel":"c"}`, "unsupported_version", "99999999999999999999"},
		{"unknown type with its own fields", `{"v":1,"type":"delete","what":"all"}`, "unknown_type", `"delete"`},
		{"type in another case", `{"v":1,"type":"Sync","channel":"c"}`, "unknown_type", `"Sync"`},
		{"no channel", `{"v":1,"type":"sync"}`, "malformed", "/channel"},
		{"empty channel", `{"v":1,"type":"sync","channel":""}`, "malformed", "/channel"},
		{"channel is a number", `{"v":1,"type":"sync","channel":7}`, "malformed", "/channel"},
		{"empty id", sync(`"id":""`), "malformed", "/id"},
		{"null field", sync(`"connectors":null`), "malformed", "null at /connectors"},
		{"empty connector", sync(`"connectors":[""]`), "malformed", "/connectors"},
		{"connectors as text", sync(`"connectors":"contacts"`), "malformed", "/connectors"},
		{"mode", sync(`"mode":"fast"`), "malformed", "/mode"},
		{"empty mode", sync(`"mode":""`), "malformed", "/mode"},
		{"flag", sync(`"flags":["dry-run"]`), "malformed", "/flags"},
		{"fraction id", sync(`"remote_ids":[1.5]`), "malformed", "/remote_ids/0"},
		{"exponent id", sync(`"remote_ids":["a",1e3]`), "malformed", "/remote_ids/1"},
		{"object id", sync(`"local_ids":[{}]`), "malformed", "/local_ids/0"},
		{"empty record id", sync(`"local_ids":[""]`), "malformed", "/local_ids"},
		{"time", sync(`"start":"yesterday"`), "malformed", "/start"},
		{"no such day", sync(`"start":"2026-02-30 00:00:00"`), "malformed", "/start"},
		{"empty window", sync(`"start":"1h","end":"1h"`), "malformed", "window is empty"},
		{"param is a number", sync(`"params":{"a":1}`), "malformed", "/params/a"},
		{"run zero", sync(`"run":0`), "malformed", "/run"},
		{"run beyond 63 bits", sync(`"run":9223372036854775808`), "malformed", "/run"},
		{"slice alone", sync(`"slice":1`), "malformed", "/slice without /run"},
		{"slice zero", sync(`"run":1,"slice":0`), "malformed", "/slice"},
		{"too large", sync(`"id":"` + strings.Repeat("x", messages.MaxBody) + `"`), "too_large", "at most 4096"},
		{"too large and not JSON", strings.Repeat("x", messages.MaxBody+1), "too_large", "4097 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := messages.Decode([]byte(tc.body), now)
			var r *messages.Rejected
			if !errors.As(err, &r) {
				t.Fatalf("error is %#v, want a *Rejected", err)
			}
			if r.Reason != tc.reason || !strings.Contains(r.Detail, tc.detail) {
				t.Errorf("got %q, want reason %s with %q", r, tc.reason, tc.detail)
			}
			if len(r.Detail) > 300 {
				t.Errorf("the detail repeats %d bytes of what a stranger sent", len(r.Detail))
			}
		})
	}
}

func TestLargestBodyIsRead(t *testing.T) {
	t.Parallel()
	head := `{"v":1,"type":"sync","channel":"c","id":"`
	body := head + strings.Repeat("x", messages.MaxBody-len(head)-2) + `"}`
	if len(body) != messages.MaxBody {
		t.Fatalf("the body has %d bytes", len(body))
	}
	if _, err := messages.Decode([]byte(body), now); err != nil {
		t.Fatal(err)
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	j := messages.Job{
		Type: "sync", Channel: "crm", Start: at("2026-03-29T03:00:00.25+02:00"),
		RemoteIDs: []string{"9007199254740993"}, Params: map[string]string{"b": "2", "a": "1"}, Run: 12, Slice: 34,
	}
	got, err := j.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"v":1,"type":"sync","channel":"crm","start":"2026-03-29T01:00:00.25Z",` +
		`"remote_ids":["9007199254740993"],"params":{"a":"1","b":"2"},"run":12,"slice":34}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEncodeRefusesWhatDecodeWouldNotTake(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		job    messages.Job
		reason string
	}{
		{"too long", messages.Job{Type: "sync", Channel: "c", ID: strings.Repeat("x", 5000)}, "too_large"},
		{"no channel", messages.Job{Type: "sync"}, "malformed"},
		{"no type", messages.Job{Channel: "c"}, "unknown_type"},
		{"version", messages.Job{V: 3, Type: "sync", Channel: "c"}, "unsupported_version"},
		{"UTF-8", messages.Job{Type: "sync", Channel: "\xff"}, "malformed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := tc.job.Encode()
			var r *messages.Rejected
			if !errors.As(err, &r) || r.Reason != tc.reason {
				t.Errorf("got %v, want reason %s", err, tc.reason)
			}
			if fault.Of(err) != fault.Permanent {
				t.Errorf("class is %v", fault.Of(err))
			}
		})
	}
}

func TestHas(t *testing.T) {
	t.Parallel()
	j := messages.Job{Flags: []string{"force"}}
	if !j.Has(messages.FlagForce) || j.Has(messages.FlagDryRun) {
		t.Error("Has disagrees with Flags")
	}
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"2026-03-29T10:00:00Z":      "2026-03-29T10:00:00Z",
		"2026-03-29T10:00:00+02:00": "2026-03-29T08:00:00Z",
		"2026-03-29 10:00:00":       "2026-03-29T10:00:00Z",
		"2h":                        "2026-03-29T10:00:00Z",
		"1h30m":                     "2026-03-29T10:30:00Z",
		"7d":                        "2026-03-22T12:00:00Z",
		"1d12h":                     "2026-03-28T00:00:00Z",
		"0":                         "2026-03-29T12:00:00Z",
	} {
		got, err := messages.ParseTime(in, now)
		if err != nil || got.Format(time.RFC3339) != want || got.Location() != time.UTC {
			t.Errorf("%s: got %v, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "-2h", "+2h", "1d-12h", "tomorrow", "2026-03-29", "10:00", "99999d", "2x", "d"} {
		if got, err := messages.ParseTime(in, now); err == nil {
			t.Errorf("%q was read as %v", in, got)
		}
	}
}
