package messages_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tandem-sync/tandem/messages"
)

// schemas compiles what is published to other programs.
func schemas(tb testing.TB) map[string]*jsonschema.Schema {
	tb.Helper()
	out := map[string]*jsonschema.Schema{}
	for _, typ := range []string{messages.TypeSync, messages.TypeReverseSync} {
		f, err := messages.Schemas.Open("schema/" + typ + ".json")
		if err != nil {
			tb.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(f)
		if err != nil {
			tb.Fatal(err)
		}
		if err := f.Close(); err != nil {
			tb.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		if err := c.AddResource(typ, doc); err != nil {
			tb.Fatal(err)
		}
		if out[typ], err = c.Compile(typ); err != nil {
			tb.Fatal(err)
		}
	}
	return out
}

// allows says whether one of the schemas takes the body.
func allows(all map[string]*jsonschema.Schema, body []byte) bool {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return false
	}
	for _, s := range all {
		if s.Validate(doc) == nil {
			return true
		}
	}
	return false
}

// TestDecodeAgreesWithSchema: the schema is what other programs write by.
// Decode may refuse more, but only what a schema cannot say: duplicate keys,
// the size, the order of two times, days that do not exist, and integers
// written as 1.0.
func TestDecodeAgreesWithSchema(t *testing.T) {
	t.Parallel()
	all := schemas(t)
	head := `{"v":1,"type":"sync","channel":"c"`
	for _, body := range []string{
		head + `}`,
		`{"v":1,"type":"reverse-sync","channel":"c"}`,
		`{"v":2,"type":"sync","channel":"c"}`,
		`{"v":"1","type":"sync","channel":"c"}`,
		`{"type":"sync","channel":"c"}`,
		`{"v":1,"channel":"c"}`,
		`{"v":1,"type":"sync"}`,
		`{"v":1,"type":"sync","channel":""}`,
		`{"v":1,"type":"sync","channel":null}`,
		`{"v":1,"type":"other","channel":"c"}`,
		`[]`, `null`, `"sync"`, `1`,
		head + `,"id":"x"}`, head + `,"id":""}`, head + `,"id":7}`, head + `,"id":null}`, head + `,"id":"\u0000"}`,
		head + `,"connectors":[]}`, head + `,"connectors":["a","a"]}`, head + `,"connectors":[""]}`, head + `,"connectors":[1]}`, head + `,"connectors":"a"}`,
		head + `,"mode":"full"}`, head + `,"mode":"incremental"}`, head + `,"mode":""}`, head + `,"mode":"Full"}`,
		head + `,"flags":["dry_run","force","no_push","no_pull"]}`, head + `,"flags":["x"]}`, head + `,"flags":[null]}`,
		head + `,"remote_ids":["a",1,-1,0,123456789012345678901234567890]}`, head + `,"remote_ids":[1.5]}`, head + `,"remote_ids":[""]}`,
		head + `,"remote_ids":[true]}`, head + `,"local_ids":["a\u0000"]}`, head + `,"local_ids":{}}`,
		head + `,"params":{}}`, head + `,"params":{"":"", "a":"b"}}`, head + `,"params":{"a":1}}`, head + `,"params":{"a":null}}`,
		head + `,"params":{"a":"\u0000"}}`, head + `,"params":{"\u0000":"a"}}`, head + `,"params":[]}`,
		head + `,"run":1}`, head + `,"run":0}`, head + `,"run":-1}`, head + `,"run":1.5}`, head + `,"run":"1"}`,
		head + `,"run":9223372036854775807}`, head + `,"run":9223372036854775808}`,
		head + `,"run":1,"slice":1}`, head + `,"slice":1}`, head + `,"run":1,"slice":0}`,
		head + `,"color":"red"}`, head + `,"V":1}`,
		head + `,"start":"2026-01-02T03:04:05Z"}`, head + `,"start":"2026-01-02T03:04:05.678+01:00"}`, head + `,"start":"2026-01-02 03:04:05"}`,
		head + `,"start":"2h"}`, head + `,"start":"1h30m"}`, head + `,"start":"1.5h"}`, head + `,"start":"7d"}`, head + `,"start":"7d12h"}`, head + `,"start":"0"}`,
		head + `,"start":""}`, head + `,"start":"-2h"}`, head + `,"start":"2 h"}`, head + `,"start":"yesterday"}`, head + `,"start":"2026-01-02"}`,
		head + `,"start":20260102}`, head + `,"end":"2h"}`, head + `,"end":"h"}`,
	} {
		_, err := messages.Decode([]byte(body), now)
		if want := allows(all, []byte(body)); (err == nil) != want {
			t.Errorf("%s\nschema takes it: %v, Decode says: %v", body, want, err)
		}
	}
	for _, body := range []string{
		head + `,"channel":"c"}`,
		head + `,"start":"1h","end":"2h"}`,
		head + `,"start":"2026-02-30 00:00:00"}`,
		head + `,"id":"` + strings.Repeat("x", messages.MaxBody) + `"}`,
		`{"v":1.0,"type":"sync","channel":"c"}`,
	} {
		if _, err := messages.Decode([]byte(body), now); err == nil {
			t.Errorf("Decode takes %.200s", body)
		}
	}
}

// FuzzDecode: no input crashes, every refusal carries its reason, and what is
// taken is allowed by the schema and survives being written and read again.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `{"v":1,"type":"sync","channel":"crm"}`, `{"v":2}`,
		`{"v":1,"type":"reverse-sync","channel":"crm","connectors":["contacts"],"local_ids":["42",9007199254740993]}`,
		`{"v":1,"type":"sync","id":"a","channel":"c","mode":"full","start":"2h","end":"2026-01-02 03:04:05","params":{"k":"v"},"flags":["force"],"run":1,"slice":2}`,
		`{"v":1,"type":"sync","channel":"c","start":"9999d23h59m59.5s"}`, `{"v":1,"v":1}`, "{\"v\":1,\"type\":\"sync\",\"channel\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	all := schemas(f)
	reasons := map[string]bool{
		messages.ReasonMalformed: true, messages.ReasonTooLarge: true,
		messages.ReasonUnsupportedVersion: true, messages.ReasonUnknownType: true,
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		j, err := messages.Decode(body, now)
		if err != nil {
			var r *messages.Rejected
			if !errors.As(err, &r) || !reasons[r.Reason] || r.Detail == "" || len(r.Detail) > 400 {
				t.Fatalf("bad refusal %#v of %q", err, body)
			}
			return
		}
		if !allows(all, body) {
			t.Fatalf("Decode takes what the schema refuses: %q", body)
		}
		again, err := j.Encode()
		if err != nil {
			var r *messages.Rejected
			if errors.As(err, &r) && r.Reason == messages.ReasonTooLarge {
				return // a relative time or an escape may grow
			}
			if far(j.Start) || far(j.End) {
				return // RFC 3339 ends at the year 9999 and begins at 0
			}
			t.Fatalf("what was read cannot be written: %v: %q", err, body)
		}
		k, err := messages.Decode(again, now)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v: %s", err, again)
		}
		twice, err := k.Encode()
		if err != nil || !bytes.Equal(again, twice) {
			t.Fatalf("written twice: %v\n%s\n%s", err, again, twice)
		}
	})
}

func far(t *time.Time) bool { return t != nil && (t.Year() < 0 || t.Year() > 9999) }
