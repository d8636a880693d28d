package rest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

const writeRemote = `{"list":{"path":"/c","records":"items"},"get":{"path":"/c/{id}"},"create":{"path":"/c"},"update":{"path":"/c/{id}"},"remove":{"path":"/c/{id}"}}`

func writerTo(t *testing.T, srv *tt.Server, remote string, more ...string) channels.Writer {
	t.Helper()
	w, ok := open(t, settingsFor(srv.URL, remote, more...)).(channels.Writer)
	if !ok {
		t.Fatal("no writer")
	}
	return w
}

func createOrder(n int, vals ...record.Value) channels.Order {
	return channels.Order{N: n, Op: channels.OrderCreate, Values: vals}
}

// TestBodies holds what is sent against what an order says.
func TestBodies(t *testing.T) {
	t.Parallel()
	fields := []string{"email", "address.city", "address.geo.lat", `["odd.name"]`, "n"}
	set := []channels.PathValue{{Path: "status", Value: record.T("new")}, {Path: "address.city", Value: record.T("Oslo")}, {Path: "x", Value: record.Value{}}}
	tests := []struct {
		name, wrap string
		o          channels.Order
		want       string // "" no call
	}{
		{"nested", "", createOrder(1, record.T("a@b"), record.T("Rome"), record.N("41.90"), record.B(true), record.N("18446744073709551617")), `{"email":"a@b","address":{"city":"Rome","geo":{"lat":41.90}},"odd.name":true,"n":18446744073709551617}`},
		{"wrapped", "contact", createOrder(1, record.T(`"q"`), record.NullValue), `{"contact":{"email":"\"q\"","address":{"city":null}}}`},
		{"nothing", "contact", createOrder(1), `{"contact":{}}`},
		{"constants", "", channels.Order{Op: channels.OrderCreate, Values: []record.Value{record.T("a"), record.T("Rome")}, Set: set}, `{"email":"a","address":{"city":"Rome"},"status":"new"}`},
		{"constants fill in", "", channels.Order{Op: channels.OrderCreate, Values: []record.Value{record.T("a")}, Set: set}, `{"email":"a","status":"new","address":{"city":"Oslo"}}`},
		{"no constants in updates", "", channels.Order{Op: channels.OrderUpdate, ID: "7", Values: []record.Value{record.T("")}, Set: set}, `{"email":""}`},
		{"an update of nothing", "", channels.Order{Op: channels.OrderUpdate, ID: "7", Values: make([]record.Value, 5)}, ""},
		{"JSON", "", createOrder(1, record.J(`{"a":[1,{"b":null}]}`)), `{"email":{"a":[1,{"b":null}]}}`},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := tt.New(t, nil)
			srv.Handle("/c", tt.JSON(`{"id":"7"}`))
			srv.Handle("/c/7", tt.Status(http.StatusNoContent))
			w := writerTo(t, srv, fmt.Sprintf(`{"list":{"path":"/c"},"create":{"path":"/c","wrap":%q},"update":{"path":"/c/{id}","wrap":%q}}`, c.wrap, c.wrap))
			got, err := w.Write(t.Context(), fields, []channels.Order{c.o})
			if err != nil || len(got) != 1 || got[0].Outcome != channels.Written || got[0].ID != "7" {
				t.Fatalf("%+v, error %v", got, err)
			}
			sent := ""
			for _, s := range srv.Seen() {
				sent += s.Body
			}
			if sent != c.want {
				t.Errorf("sent %s\nwant %s", sent, c.want)
			}
		})
	}
}

func TestValuesThatCannotBeSent(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	w := writerTo(t, srv, writeRemote)
	for _, v := range []record.Value{record.T("M\xfcnchen"), record.N("NaN"), record.N("1 "), record.N(""), record.N("0x1"), record.J("{"), record.J(""), {Kind: record.Bool, Text: "yes"}} {
		got, err := w.Write(t.Context(), []string{"a"}, []channels.Order{createOrder(1, v)})
		if err != nil || len(got) != 1 || got[0].Outcome != channels.Refused || fault.CodeOf(got[0].Err) != fault.CodeBadRecord {
			t.Errorf("%+v: %+v, error %v", v, got, err)
		}
	}
	for _, id := range []string{"", ".", "..", "a\x00b"} {
		got, err := w.Write(t.Context(), []string{"a"}, []channels.Order{{Op: channels.OrderDelete, ID: id}})
		if err != nil || got[0].Outcome != channels.Refused {
			t.Errorf("id %q: %+v, error %v", id, got, err)
		}
	}
	for _, fields := range [][]string{{"a[0]"}, {"$key"}, {"a", "a.b"}, {"a..b"}} {
		if _, err := w.Write(t.Context(), fields, nil); fault.CodeOf(err) != fault.CodeConfig {
			t.Errorf("%v: error %v", fields, err)
		}
	}
	if n := len(srv.Seen()); n > 0 {
		t.Errorf("%d calls", n)
	}
}

func TestIDsAreEscaped(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", r.RequestURI) }))
	w := writerTo(t, srv, `{"list":{"path":"/c"},"remove":{"path":"/c?id={id}"},"update":{"path":"/c/{id}/x"}}`)
	orders := []channels.Order{{Op: channels.OrderDelete, ID: "a&b=/c"}, {Op: channels.OrderUpdate, ID: "a/b?c", Values: []record.Value{record.T("x")}}}
	for i, want := range []string{"/c", "/c/a/b?c/x"} {
		if _, err := w.Write(t.Context(), []string{"a"}, orders[i:i+1]); err != nil {
			t.Fatal(err)
		}
		if s := srv.Seen()[i]; s.Path != want || i == 0 && s.Query != "id=a%26b%3D%2Fc" {
			t.Errorf("path %q, query %q", s.Path, s.Query)
		}
	}
}

// TestOutcomes says what each answer means for each order.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	type is struct {
		outcome channels.Outcome
		whole   fault.Class // of the whole Write; Unknown none
	}
	written, gone, refused := is{outcome: channels.Written}, is{outcome: channels.Gone}, is{outcome: channels.Refused}
	unknown, lost := is{outcome: channels.Unknown}, is{channels.Unknown, fault.Retryable}
	stop, wait := is{channels.NotSent, fault.Permanent}, is{channels.NotSent, fault.RateLimited}
	record7 := tt.JSON(`{"id":"7","a":"x"}`)
	tests := []struct {
		name                   string
		step                   tt.Step
		create, update, remove is
	}{
		{"the record", record7, written, written, written},
		{"nothing", tt.Status(204), unknown, written, written},
		{"no id", tt.JSON(`{"ok":true}`), unknown, written, written},
		{"not JSON", tt.Answer(200, "OK"), unknown, written, written},
		{"a page", tt.HTML(), unknown, lost, lost},
		{"broken off", tt.Truncated(`{"id":"7","a":"x"}`, 9), unknown, unknown, unknown},
		{"a list", tt.JSON(`[{"id":"7"}]`), unknown, written, written},
		{"created elsewhere", tt.Status(201, "Location", "/c/8"), written, written, written},
		{"accepted", tt.Answer(202, `{"job":"j1"}`), unknown, written, written},
		{"400", tt.Status(400), refused, refused, refused},
		{"401", tt.Status(401), stop, stop, stop},
		{"403", tt.Status(403), stop, stop, stop},
		{"404", tt.Status(404), refused, gone, written},
		{"405", tt.Status(405), stop, stop, stop},
		{"408", tt.Status(408), lost, lost, lost},
		{"409", tt.Status(409), is{outcome: channels.Exists}, refused, refused},
		{"410", tt.Status(410), refused, gone, written},
		{"412", tt.Status(412), is{outcome: channels.Changed}, is{outcome: channels.Changed}, is{outcome: channels.Changed}},
		{"415", tt.Status(415), stop, stop, stop},
		{"422", tt.Status(422), refused, refused, refused},
		{"425", tt.Status(425), is{channels.NotSent, fault.Retryable}, is{channels.NotSent, fault.Retryable}, is{channels.NotSent, fault.Retryable}},
		{"429", tt.Status(429, "Retry-After", "60"), wait, wait, wait},
		{"500", tt.Status(500), unknown, unknown, unknown},
		{"503", tt.Status(503, "Retry-After", "60"), lost, lost, lost},
		{"reset", tt.Reset(), lost, lost, lost},
		{"redirect", tt.Redirect(307, "/d"), is{channels.Unknown, fault.Permanent}, is{channels.Unknown, fault.Permanent}, is{channels.Unknown, fault.Permanent}},
	}
	for _, c := range tests {
		for op, want := range map[channels.Op]is{channels.OrderCreate: c.create, channels.OrderUpdate: c.update, channels.OrderDelete: c.remove} {
			t.Run(c.name+"/"+op.String(), func(t *testing.T) {
				t.Parallel()
				srv := tt.New(t, nil)
				srv.Handle("/c", c.step)
				srv.Handle("/c/7", c.step)
				o := channels.Order{N: 3, Op: op, ID: "7", Values: []record.Value{record.T("x")}}
				if op == channels.OrderCreate {
					o.ID = ""
				}
				got, err := writerTo(t, srv, writeRemote).Write(t.Context(), []string{"a"}, []channels.Order{o})
				if len(got) != 1 || got[0].N != 3 || got[0].Outcome != want.outcome {
					t.Fatalf("%+v, error %v; want %s", got, err, want.outcome)
				}
				if fault.Of(err) != want.whole || (err == nil) != (want.whole == fault.Unknown) {
					t.Errorf("error %v, want class %s", err, want.whole)
				}
				creates := 0
				for _, s := range srv.Seen() {
					if s.Method == http.MethodPost {
						creates++
					}
				}
				if creates > 1 {
					t.Errorf("the create was sent %d times", creates)
				}
			})
		}
	}
}

// TestAnswers says where ids and records are found in answers.
func TestAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, create string
		step         tt.Step
		id, value    string // of the record; "" none
	}{
		{"at the top", `"wrap":""`, tt.JSON(`{"id":7,"a":"x"}`), "7", "x"},
		{"where it was sent", `"wrap":"contact"`, tt.JSON(`{"contact":{"id":"7","a":"x"}}`), "7", "x"},
		{"not where it was sent", `"wrap":"contact"`, tt.JSON(`{"id":"7","a":"x"}`), "7", "x"},
		{"where create.id is", `"id":"data.new.id"`, tt.JSON(`{"id":"job","data":{"new":{"id":"7","a":"x"}}}`), "7", "x"},
		{"only an id", `"id":"inserted[0]"`, tt.JSON(`{"inserted":[7]}`), "7", ""},
		{"another id beside the record", `"id":"inserted"`, tt.JSON(`{"id":"6","a":"x","inserted":7}`), "7", ""},
		{"a location", `"wrap":""`, tt.Status(201, "Location", "https://other.example/v2/c/a%20b?x=1"), "a b", ""},
		{"a location of something else", `"wrap":""`, tt.Status(201, "Location", "/c/7/contacts/9"), "", ""},
		{"an id that is no id", `"wrap":""`, tt.JSON(`{"id":{"$oid":"7"}}`), "", ""},
		{"an empty id", `"wrap":""`, tt.JSON(`{"id":""}`), "", ""},
		{"a null id", `"wrap":""`, tt.JSON(`{"id":null}`), "", ""},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := tt.New(t, nil)
			srv.Handle("/c", c.step)
			w := writerTo(t, srv, `{"list":{"path":"/c"},"get":{"path":"/c/{id}"},"create":{"path":"/c",`+c.create+`}}`)
			got, err := w.Write(t.Context(), []string{"a", "b"}, []channels.Order{createOrder(1, record.T("x"))})
			if err != nil || len(got) != 1 || got[0].ID != c.id || (got[0].Outcome == channels.Written) != (c.id != "") {
				t.Fatalf("%+v, error %v", got, err)
			}
			rec := got[0].Record
			if (rec != nil) != (c.value != "") {
				t.Fatalf("record %+v", rec)
			}
			if rec != nil && (rec.ID != c.id || rec.Values[0] != record.T(c.value) || rec.Values[1].Has()) {
				t.Errorf("record %+v", rec)
			}
		})
	}
}

func TestUpdateThatMovesTheRecord(t *testing.T) {
	t.Parallel()
	for answer, id := range map[string]string{
		`{"id":"8","a":"x"}`:           "8", // merged
		`{"id":"job-1","status":"ok"}`: "7",
		`{"id":"7"}`:                   "7",
	} {
		srv := tt.New(t, nil)
		srv.Handle("/c/7", tt.JSON(answer))
		o := channels.Order{Op: channels.OrderUpdate, ID: "7", Values: []record.Value{record.T("x")}}
		got, err := writerTo(t, srv, writeRemote).Write(t.Context(), []string{"a"}, []channels.Order{o})
		if err != nil || len(got) != 1 || got[0].ID != id || got[0].Record != nil && got[0].Record.ID != id {
			t.Errorf("%s: %+v, error %v; want id %s", answer, got, err, id)
		}
	}
}

// TestRefusalsInWords: what a person needs to know, without the credential.
func TestRefusalsInWords(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/c", tt.Answer(400, `{"status":400,"message":"Failed to create record.","data":{"name":{"code":"validation_max","message":"Too long."},"email":{"code":"validation_is_email","message":"Must be valid, not c4nary-token."}}}`))
	got, err := writerTo(t, srv, writeRemote, `"token":"c4nary-token"`).Write(t.Context(), []string{"a"}, []channels.Order{createOrder(1, record.T("x"))})
	if err != nil || len(got) != 1 || got[0].Outcome != channels.Refused {
		t.Fatalf("%+v, error %v", got, err)
	}
	text := got[0].Err.Error() + fault.AnswerOf(got[0].Err)
	if !strings.Contains(text, "Failed to create record. email: Must be valid, not") || !strings.Contains(text, "name: Too long.") || strings.Contains(text, "c4nary") {
		t.Errorf("%s", text)
	}
}

// TestIdempotencyKey: a create that carries a key is repeated with the same one.
func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	remote := `{"list":{"path":"/c"},"create":{"path":"/c","idempotency":"X-Once"}}`
	srv := tt.New(t, nil)
	srv.Handle("/c", tt.Status(503), tt.Reset(), tt.JSON(`{"id":"7"}`))
	o := createOrder(1, record.T("x"))
	o.Key = "k1"
	w := writerTo(t, srv, remote)
	got, err := w.Write(t.Context(), []string{"a"}, []channels.Order{o})
	if err != nil || len(got) != 1 || got[0].ID != "7" {
		t.Fatalf("%+v, error %v", got, err)
	}
	for _, s := range srv.Seen() {
		if s.Header.Get("X-Once") != "k1" {
			t.Errorf("headers %v", s.Header)
		}
	}
	if n := len(srv.Seen()); n != 3 || w.WriteCapabilities().Safety != channels.SafetyKey {
		t.Errorf("%d calls, %+v", n, w.WriteCapabilities())
	}
	srv.Handle("/c", tt.Status(409))
	if got, err := w.Write(t.Context(), []string{"a"}, []channels.Order{o}); err != nil || got[0].Outcome != channels.Unknown {
		t.Errorf("a conflict under a key may be our own first try: %+v, error %v", got, err)
	}
}

// TestConcurrencyOfWrites: as many calls at a time as the transport allows, and
// no more.
func TestConcurrencyOfWrites(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	var once sync.Once
	together := make(chan struct{})
	srv := tt.New(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		if n > 3 {
			t.Errorf("%d calls at a time", n)
		}
		if n == 3 {
			once.Do(func() { close(together) })
		}
		select {
		case <-together:
		case <-time.After(time.Minute):
		}
		now.Add(-1)
		_, _ = fmt.Fprint(w, `{"id":"7"}`)
	}))
	var orders []channels.Order
	for i := range 9 {
		orders = append(orders, createOrder(i, record.T("x")))
	}
	got, err := writerTo(t, srv, writeRemote, `"concurrency":3`).Write(t.Context(), []string{"a"}, orders)
	if err != nil || len(got) != 9 {
		t.Errorf("%d results, error %v", len(got), err)
	}
	select {
	case <-together:
	default:
		t.Error("three calls were never under way at a time")
	}
}

// TestTroubleStops: three failures in a row end a Write; one that lies between
// successes does not.
func TestTroubleStops(t *testing.T) {
	t.Parallel()
	ok, bad := tt.JSON(`{"id":"7"}`), tt.Status(500)
	var orders []channels.Order
	for i := range 8 {
		orders = append(orders, createOrder(i, record.T("x")))
	}
	for name, c := range map[string]struct {
		steps []tt.Step
		want  int
	}{
		"scattered": {[]tt.Step{ok, bad, bad, ok, bad, ok, bad, bad}, 8},
		"in a row":  {[]tt.Step{ok, bad, bad, bad, ok}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := tt.New(t, nil)
			srv.Handle("/c", c.steps...)
			got, err := writerTo(t, srv, writeRemote, `"concurrency":1`).Write(t.Context(), []string{"a"}, orders)
			if len(got) != c.want || (err == nil) != (c.want == 8) {
				t.Errorf("%d results, error %v; want %d", len(got), err, c.want)
			}
		})
	}
}

func TestWhatIsOffered(t *testing.T) {
	t.Parallel()
	create, update, remove, get, find := `"create":{"path":"/c"}`, `"update":{"path":"/c/{id}","method":"PUT"}`, `"remove":{"path":"/c/{id}"}`, `"get":{"path":"/c/{id}"}`, `"find":{"query":"a={a}"}`
	caps := channels.WriteCapabilities{Create: true, Update: true, Delete: true, Batch: 1, Parallel: 4, Safety: channels.SafetyLookup, Settle: 10 * time.Second, Whole: true}
	onlyRemove := channels.WriteCapabilities{Delete: true, Batch: 1, Parallel: 4}
	for _, c := range []struct {
		keys               []string
		writes, gets, find bool
		want               channels.WriteCapabilities
	}{
		{nil, false, false, false, channels.WriteCapabilities{}},
		{[]string{get}, false, true, false, channels.WriteCapabilities{}},
		{[]string{find}, false, false, true, channels.WriteCapabilities{}},
		{[]string{get, find}, false, true, true, channels.WriteCapabilities{}},
		{[]string{remove}, true, false, false, onlyRemove},
		{[]string{remove, find}, true, false, true, onlyRemove},
		{[]string{remove, get}, true, true, false, onlyRemove},
		{[]string{create, update, remove, get, find}, true, true, true, caps},
	} {
		con := open(t, settingsFor(tt.New(t, nil).URL, `{`+strings.Join(slices.Concat([]string{`"list":{"path":"/c"}`}, c.keys), ",")+`}`))
		w, writes := con.(channels.Writer)
		_, gets := con.(channels.Getter)
		_, finds := con.(channels.Finder)
		if writes != c.writes || gets != c.gets || finds != c.find {
			t.Errorf("%v: writes %t, gets %t, finds %t", c.keys, writes, gets, finds)
		}
		if writes && w.WriteCapabilities() != c.want {
			t.Errorf("%v: %+v", c.keys, w.WriteCapabilities())
		}
	}
}
