package hubspot_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	emulator "github.com/tandem-sync/tandem/emulate/hubspot"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

type netipPrefix = netip.Prefix

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// One bad record costs that record.
func TestBadRecordsOfAGoodPage(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		bad  string
		code string
		id   string
	}{
		"NUL":             {`{"id":"7","properties":{"email":"a\u0000b"}}`, fault.CodeBadRecord, "7"},
		"half surrogate":  {`{"id":"7","properties":{"phone":"\ud83d"}}`, fault.CodeBadRecord, "7"},
		"bad UTF-8":       {"{\"id\":\"7\",\"properties\":{\"phone\":\"\xff\"}}", fault.CodeBadRecord, "7"},
		"no id":           {`{"properties":{"email":"x"}}`, "missing_id", ""},
		"id is null":      {`{"id":null,"properties":{"email":"x"}}`, "missing_id", ""},
		"id of bad UTF-8": {"{\"id\":\"7\xff\",\"properties\":{}}", "missing_id", ""},
		"no object":       {`"7"`, fault.CodeBadRecord, ""},
		"too large":       {`{"id":"7","properties":{"email":"` + strings.Repeat("x", 4<<20) + `"}}`, "record_too_large", "7"},
	} {
		a := open(t, emulator.Config{}, "")
		good := `{"id":"%","properties":{"email":"good","unmapped":"\u0000","lastmodifieddate":"2026-11-24T09:00:00Z"},"archived":false}`
		a.Inject(emulator.Body(`{"results":[` + strings.Replace(good, "%", "1", 1) + "," + x.bad + "," + strings.Replace(good, "%", "2", 1) + `]}`))
		got := a.all(t, channels.ReadRequest{})
		if len(got) != 3 {
			t.Errorf("%s: %d records", name, len(got))
			continue
		}
		if r := got[1]; fault.Of(r.Err) != fault.Permanent || fault.CodeOf(r.Err) != x.code || r.ID != x.id || r.Values != nil {
			t.Errorf("%s: %q %v", name, r.ID, r.Err)
		}
		for _, k := range []int{0, 2} {
			if r := got[k]; r.Err != nil || r.Values[0] != record.T("good") || !r.Modified.Equal(morning) {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
}

// What HubSpot does not write today is still read for what it says.
func TestOddButReadableAnswers(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, `{"history":"always"}`)
	a.Inject(emulator.Body("\xef\xbb\xbf\n { \"paging\" : null , \"total\":1, \"results\" : [ " +
		`{ "propertiesWithHistory":{"\u0065mail":[{"timestamp":"2026-11-24T07:00:00Z","value":"b"},{"value":"a","timestamp":"2026-11-24T08:00:00.5Z"},7,{"timestamp":null}],"phone":{},"city":[]},` +
		`"properties":{"firstname":true,"lastname":{"a" : [1, 2]},"phone":12.50,"\u0065mail":"first","email":"a\nb","lastmodifieddate":"1795000000000"},"id":9007199254740993,"updatedAt":"x","associations":{"x":["]}"]}}` +
		" ] }\n"))
	got := a.all(t, channels.ReadRequest{})
	if len(got) != 1 || got[0].Err != nil {
		t.Fatalf("%+v", got)
	}
	want := []record.Value{record.T("a\nb"), record.B(true), record.J(`{"a":[1,2]}`), record.N("12.50")}
	for i, w := range want {
		if got[0].Values[i] != w {
			t.Errorf("%s: %v, want %v", fields[i], got[0].Values[i], w)
		}
	}
	if at := got[0].ChangedAt; !at[0].Equal(morning.Add(-time.Hour+500*time.Millisecond)) || !at[1].IsZero() || !at[3].IsZero() {
		t.Errorf("changed at %v", at)
	}
	if got[0].ID != "9007199254740993" || !got[0].Modified.Equal(time.UnixMilli(1795000000000)) {
		t.Errorf("%s %v", got[0].ID, got[0].Modified)
	}
}

// A search that breaks its word must not move the position.
func TestSearchesThatCannotBeTrusted(t *testing.T) {
	t.Parallel()
	row := func(id, at string) string {
		return `{"id":"` + id + `","properties":{"lastmodifieddate":"` + at + `"}}`
	}
	more := `],"paging":{"next":{"after":"200"}}}`
	early, late := "2026-11-24T09:00:01Z", "2026-11-24T09:00:02Z"
	tied := emulator.Body(`{"results":[` + row("5", early) + "," + row("6", early) + more)
	for name, x := range map[string]struct {
		answers []emulator.Fault
		code    string
	}{
		"out of order":        {[]emulator.Fault{emulator.Body(`{"results":[` + row("1", late) + "," + row("2", early) + more)}, fault.CodeBadAnswer},
		"no time":             {[]emulator.Fault{emulator.Body(`{"results":[` + row("1", "") + more)}, fault.CodeBadAnswer},
		"more of nothing":     {[]emulator.Fault{emulator.Body(`{"results":[` + more)}, "cursor_stalled"},
		"before its time":     {[]emulator.Fault{emulator.Body(`{"results":[` + row("1", "2020-01-01T00:00:00Z") + more)}, "cursor_stalled"},
		"ties out of order":   {[]emulator.Fault{tied, emulator.Body(`{"results":[` + row("6", early) + "," + row("5", early) + more)}, fault.CodeBadAnswer},
		"ties without an end": {[]emulator.Fault{tied, emulator.Body(`{"results":[` + more)}, "cursor_stalled"},
		"ids of another kind": {[]emulator.Fault{tied, emulator.Body(`{"results":[` + row("x", early) + more)}, fault.CodeBadAnswer},
	} {
		a := open(t, emulator.Config{}, `{"history":"never"}`)
		a.Advance(time.Second)
		ids := a.Seed(3)
		a.Inject(x.answers...)
		r := a.reader(t, channels.ReadRequest{Since: morning})
		var got []record.Record
		err := drain(t, r, &got)
		if fault.Of(err) != fault.Retryable || fault.CodeOf(err) != x.code {
			t.Errorf("%s: %v", name, err)
		}
		got = nil
		if err := drain(t, r, &got); err != nil || len(got) != len(ids) {
			t.Errorf("%s: afterwards %d records, %v", name, len(got), err)
		}
	}
}
