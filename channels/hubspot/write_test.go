package hubspot_test

import (
	"fmt"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/channels/channelstest"
	"github.com/tandem-sync/tandem/channels/hubspot"
	emulator "github.com/tandem-sync/tandem/emulate/hubspot"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
	"github.com/tandem-sync/tandem/transport"
)

func person(n int) []record.Value {
	return []record.Value{
		record.T(fmt.Sprintf("anna.o'brien+%d@example.com", n)), record.T(fmt.Sprintf("Anna \"%d\" ü", n)),
		record.N(fmt.Sprintf("90071992547409%02d", n%100)), record.N("0.10"),
	}
}

// text is how HubSpot keeps a value.
func text(v record.Value) record.Value {
	if v.Empty() {
		return record.NullValue
	}
	return record.T(v.Text)
}

func TestWriterAcceptance(t *testing.T) {
	for _, anew := range []bool{false, true} {
		channelstest.RunWriter(t, channelstest.Writing{
			Type:      hubspot.Type{Clock: &waiting{}, SearchRate: transport.Rate{N: 10_000, Per: time.Second}},
			Connector: "contacts", Fields: fields, Sample: person, Reads: text, Identity: []int{0}, Update: 2,
			Bad: func(n int) []record.Value {
				values := person(n)
				values[0] = record.T("no address")
				return values
			},
			Open: func(t *testing.T) *channelstest.Remote {
				p := emulator.New(emulator.Config{Token: token, Limits: emulator.Unlimited, Now: func() time.Time { return morning }, MergeAnew: anew})
				srv := httptest.NewServer(p)
				t.Cleanup(srv.Close)
				return &channelstest.Remote{
					Settings: settings(srv.URL, "", ""), Count: func() int { return len(p.IDs()) },
					Remove: func(id string) { p.Archive(id) },
					Lose:   func() { p.Inject(emulator.Reset()) },
					Fail: func(statuses ...int) {
						for _, s := range statuses {
							p.Inject(emulator.Status(s, "ANY", "not with "+token))
						}
					},
					Stop: srv.Close, Merge: p.Merge, Secrets: []string{token},
				}
			},
		})
	}
}

func (a *account) write(tb testing.TB, orders ...channels.Order) (map[int]channels.Result, error) {
	tb.Helper()
	got, err := a.c.(channels.Writer).Write(tb.Context(), fields, orders)
	out := map[int]channels.Result{}
	for _, r := range got {
		out[r.N] = r
	}
	if len(out) != len(got) {
		tb.Errorf("%d results for %d orders", len(got), len(out))
	}
	return out, err
}

func create(n int) channels.Order {
	return channels.Order{N: n, Op: channels.OrderCreate, Values: person(n)}
}

func update(n int, id string, values ...record.Value) channels.Order {
	return channels.Order{N: n, Op: channels.OrderUpdate, ID: id, Values: append([]record.Value{{}}, values...)}
}

// TestRowsOfABatch: each reason of a row has its outcome, and the rows beside it
// are written.
func TestRowsOfABatch(t *testing.T) {
	t.Parallel()
	for category, want := range map[string]struct {
		create, update channels.Outcome
	}{
		"VALIDATION_ERROR": {channels.Refused, channels.Refused},
		"OBJECT_NOT_FOUND": {channels.Refused, channels.Gone},
		"CONFLICT":         {channels.Exists, channels.Refused},
		"RATE_LIMITS":      {channels.NotSent, channels.NotSent},
		"LOCKED":           {channels.NotSent, channels.NotSent},
		"INTERNAL_ERROR":   {channels.Unknown, channels.Unknown},
		"SOMETHING_NEW":    {channels.Refused, channels.Refused},
		"":                 {channels.Unknown, channels.Unknown}, // silence
	} {
		t.Run(category, func(t *testing.T) {
			t.Parallel()
			a := open(t, emulator.Config{}, "")
			ids := a.Seed(3)
			fail := func(row string, op emulator.Op) {
				if category == "" {
					a.Inject(emulator.Silence(row).On(op))
				} else {
					a.Inject(emulator.Row(row, category, "because of "+token).On(op))
				}
			}
			fail(person(2)[0].Text, emulator.OpBatchCreate)
			fail(ids[1], emulator.OpBatchUpdate)
			var orders []channels.Order
			for i := range 3 {
				orders = append(orders, create(i+1), update(i+11, ids[i], record.T("New")))
			}
			got, err := a.write(t, orders...)
			if err != nil || len(got) != len(orders) {
				t.Fatalf("%d results, error %v", len(got), err)
			}
			for n, r := range got {
				outcome := channels.Written
				switch n {
				case 2:
					outcome = want.create
				case 12:
					outcome = want.update
				}
				if r.Outcome != outcome || r.Err != nil && strings.Contains(r.Err.Error(), token) {
					t.Errorf("order %d: %s, want %s: %v", n, r.Outcome, outcome, r.Err)
				}
			}
		})
	}
}

// TestWhatABatchCosts: a hundred contacts are one call, one that refuses the
// whole batch costs a few more and itself only.
func TestWhatABatchCosts(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	var orders []channels.Order
	for i := range 250 {
		orders = append(orders, create(i))
	}
	if got, err := a.write(t, orders...); err != nil || len(got) != 250 || a.Calls(emulator.OpBatchCreate) != 3 {
		t.Errorf("%d results in %d calls, error %v", len(got), a.Calls(emulator.OpBatchCreate), err)
	}
	// HubSpot refuses the whole batch once, then what is left of it.
	a.Inject(emulator.Status(400, "VALIDATION_ERROR", "no").On(emulator.OpBatchUpdate))
	var updates []channels.Order
	for i, id := range a.IDs()[:100] {
		updates = append(updates, update(i, id, record.T("New")))
	}
	got, err := a.write(t, updates...)
	if err != nil || len(got) != 100 || a.Calls(emulator.OpBatchUpdate) != 3 {
		t.Fatalf("%d results in %d calls, error %v", len(got), a.Calls(emulator.OpBatchUpdate), err)
	}
	for n, r := range got {
		if r.Outcome != channels.Written {
			t.Errorf("order %d: %s: %v", n, r.Outcome, r.Err)
		}
	}
}

// TestWhichContactACreateMet: HubSpot names it, or it is found by its address,
// also by one that it has from a merge.
func TestWhichContactACreateMet(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	a.AddUniqueProperty("phone")
	first := a.Create(map[string]string{"email": person(1)[0].Text})
	winner, loser := a.Create(map[string]string{"email": "w@example.com"}), a.Create(map[string]string{"email": person(2)[0].Text})
	merged := a.Merge(winner, loser)
	byPhone := a.Create(map[string]string{"phone": "+49 1"})
	conflict := create(3)
	a.Create(map[string]string{"email": person(3)[0].Text})
	a.Inject(emulator.Row(person(3)[0].Text, "CONFLICT", "Contact already exists.").On(emulator.OpBatchCreate))
	third := a.IDs()[len(a.IDs())-1]
	twice := create(6)
	twice.Values[0] = record.T(strings.ToUpper(person(5)[0].Text))
	phone := create(4)
	phone.Values[3] = record.T("+49 1")
	five := create(5)
	five.Values[3] = record.Value{}
	twice.Values[3] = record.Value{}
	got, err := a.write(t, create(1), create(2), conflict, phone, five, twice)
	if err != nil {
		t.Fatal(err)
	}
	for n, id := range map[int]string{1: first, 2: merged, 3: third, 4: byPhone, 6: got[5].ID} {
		if got[n].Outcome != channels.Exists || got[n].ID != id {
			t.Errorf("order %d: %+v, want exists %s", n, got[n], id)
		}
	}
	if got[5].Outcome != channels.Written {
		t.Errorf("%+v", got[5])
	}
}

// TestUpdateOfAMergedContact: what was merged has moved.
func TestUpdateOfAMergedContact(t *testing.T) {
	t.Parallel()
	for _, anew := range []bool{false, true} {
		a := open(t, emulator.Config{MergeAnew: anew}, "")
		ids := a.Seed(3)
		left := a.Merge(ids[0], ids[1])
		got, err := a.write(t, update(1, ids[1], record.T("New")), update(2, ids[2], record.T("New")))
		if err != nil || got[1].Outcome != channels.Written || got[1].ID != left || got[2].ID != ids[2] {
			t.Errorf("%+v, error %v; want id %s", got, err, left)
		}
	}
}

func TestPropertiesAreTexts(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	o := create(1)
	o.Values = []record.Value{record.T("x@example.com"), record.B(true), record.N("1.50"), record.J(`{"a":1}`)}
	o.Set = []channels.PathValue{{Path: "company", Value: record.T("ACME")}, {Path: "email", Value: record.T("other@example.com")}}
	got, err := a.write(t, o)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := a.Contact(got[1].ID)
	for name, want := range map[string]string{"email": "x@example.com", "firstname": "true", "lastname": "1.50", "phone": `{"a":1}`, "company": "ACME"} {
		if c.Properties[name] != want {
			t.Errorf("%s is %q, want %q", name, c.Properties[name], want)
		}
	}
	if r := got[1].Record; r == nil || !slices.Equal(r.Values, []record.Value{record.T("x@example.com"), record.T("true"), record.T("1.50"), record.T(`{"a":1}`)}) {
		t.Errorf("answer %+v", r)
	}
}

// TestFindBySearch: other properties than the address are searched for, which
// lags.
func TestFindBySearch(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{IndexLag: time.Minute}, "")
	ann := a.Create(map[string]string{"email": "ann@example.com", "firstname": "Ann", "lastname": "Lee"})
	bob := a.Create(map[string]string{"firstname": "Bob", "lastname": "Lee"})
	var identities [][]record.Value
	for _, x := range [][2]string{{"Ann", "Lee"}, {"bob", " LEE "}, {"Ann", "Other"}, {"", "Lee"}, {"a", "b"}, {"c", "d"}, {"Bob", "Lee"}} {
		identities = append(identities, []record.Value{record.T(x[0]), record.T(x[1])})
	}
	look := func() []string {
		got, err := a.c.(channels.Finder).Find(t.Context(), fields, []int{1, 2}, identities)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, recs := range got {
			ids := ""
			for _, r := range recs {
				ids += r.ID
			}
			out = append(out, ids)
		}
		return out
	}
	if got := look(); slices.ContainsFunc(got, func(s string) bool { return s != "" }) {
		t.Errorf("before the index has them: %v", got)
	}
	a.Advance(2 * time.Minute)
	if got := look(); !slices.Equal(got, []string{ann, bob, "", "", "", "", bob}) {
		t.Errorf("found %q", got)
	}
	byEmail := [][]record.Value{{record.T("ANN@example.com ")}, {record.T("nobody@example.com")}}
	a.Inject(emulator.Silence("ann@example.com"))
	found, err := a.c.(channels.Finder).Find(t.Context(), fields, []int{0}, byEmail)
	if err != nil || len(found[0]) != 1 || found[0][0].ID != ann || len(found[0][0].Values) != len(fields) || len(found[1]) != 0 {
		t.Errorf("%+v, error %v", found, err)
	}
	a.Inject(emulator.Row("nobody@example.com", "INTERNAL_ERROR", "no"))
	if _, err := a.c.(channels.Finder).Find(t.Context(), fields, []int{0}, byEmail); fault.Of(err) != fault.Retryable {
		t.Errorf("a row that failed is not 'not found': %v", err)
	}
}

// TestCreatesThatMayHaveBeenMade: what cannot be told from the answer is unknown,
// for every contact of the batch, and none is made twice.
func TestCreatesThatMayHaveBeenMade(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]emulator.Fault{
		"reset": emulator.Reset(), "cut off": emulator.Truncated(), "half": emulator.Half(),
		"a page": emulator.HTML(), "no results": emulator.Body("{}"), "500": emulator.Status(500, "INTERNAL_ERROR", "no"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := open(t, emulator.Config{}, "")
			a.Inject(f.On(emulator.OpBatchCreate))
			got, err := a.write(t, create(1), create(2))
			if fault.Of(err) != fault.Retryable || len(got) != 2 {
				t.Errorf("%d results, error %v", len(got), err)
			}
			for r := range maps.Values(got) {
				if r.Outcome != channels.Unknown || r.ID != "" {
					t.Errorf("%+v", r)
				}
			}
			if n := a.Calls(emulator.OpBatchCreate); n != 1 {
				t.Errorf("%d calls", n)
			}
		})
	}
}

func TestSafetyOfCreates(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	w := a.c.(channels.SafetyOf)
	none := create(1)
	none.Values[0] = record.NullValue
	if w.SafetyOf(fields, create(1)) != channels.SafetyUnique || w.SafetyOf(fields, none) != channels.SafetyLookup || w.SafetyOf([]string{"phone"}, create(1)) != channels.SafetyLookup {
		t.Error("only contacts with an e-mail address are unique")
	}
	s := settings("https://api.hubapi.com", "", "")
	s.Connectors[0].Writes = &channels.ConnectorWrites{Create: true, Fields: []string{"email", "hs_object_id", "a b", "lastmodifieddate"}}
	if ps := (hubspot.Type{}).Check(s); len(ps) != 3 || ps[0].Field != "connectors[0].mapping" || ps[1].Fix == "" {
		t.Errorf("%+v", ps)
	}
}
