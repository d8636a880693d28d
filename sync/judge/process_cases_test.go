package judge_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-sync/tandem/sync/judge"
)

// TestProcessCases: situations in which Mautic's sync (mautic/mautic
// IntegrationsBundle at 24271492, 5.x) was observed to swap, lose or repeat
// values, and what a sync of two sides should do in each. Times are hours before
// the first run; the pair was in step five hours before it.
func TestProcessCases(t *testing.T) {
	t.Parallel()
	r1 := remoteKey{"Contact", "R1"}
	start := texts("email=a@x", "city=Start")
	cases := []struct {
		id, name string
		play     func(t *testing.T, w *world)
	}{
		{"proc-A", "conflict, remote newer, by the date of its record", func(t *testing.T, w *world) {
			w.linked("1", r1, start)
			w.editLocal("1", "city", "MauticOld", ago(2))
			w.editRemote(r1, "city", "RemoteNew", ago(1))
			w.run(options{})
			holds(t, w, r1, "city", "RemoteNew|RemoteNew")
			silent(t, w, 3)
			holds(t, w, r1, "city", "RemoteNew|RemoteNew")
		}},
		{"proc-A2", "conflict, local newer", func(t *testing.T, w *world) {
			w.linked("1", r1, start)
			w.editLocal("1", "city", "MauticNew", ago(1))
			w.editRemote(r1, "city", "RemoteOld", ago(2))
			w.run(options{})
			holds(t, w, r1, "city", "MauticNew|MauticNew")
			silent(t, w, 3)
		}},
		{"proc-Q", "no conflict: the remote touched another field later", func(t *testing.T, w *world) {
			w.linked("1", r1, start)
			w.editLocal("1", "city", "MauticCity", ago(2))
			w.editRemote(r1, "email", "changed@x", ago(1))
			w.run(options{})
			holds(t, w, r1, "city", "MauticCity|MauticCity")
			holds(t, w, r1, "email", "changed@x|changed@x")
			silent(t, w, 3)
		}},
		{"proc-C", "two types with the same id, both new", func(t *testing.T, w *world) {
			lead, contact := remoteKey{"Lead", "5"}, remoteKey{"Contact", "5"}
			w.remote[lead] = &remoteRecord{values: texts("email=lead5@x", "city=L"), modified: ago(1)}
			w.remote[contact] = &remoteRecord{values: texts("email=contact5@x", "city=C"), modified: ago(1)}
			got := w.run(options{})
			for _, want := range []string{"local create Lead:5", "local create Contact:5"} {
				if !slices.Contains(got, want) {
					t.Errorf("%q is missing in %q", want, got)
				}
			}
			holds(t, w, lead, "email", "lead5@x|lead5@x")
			holds(t, w, contact, "email", "contact5@x|contact5@x")
			silent(t, w, 2)
		}},
		{"proc-E", "echo of our own write", func(t *testing.T, w *world) {
			w.linked("1", r1, start)
			w.editLocal("1", "city", "Pushed", ago(1))
			wrote(t, w.run(options{}), "remote R1.city=Pushed")
			silent(t, w, 3)
		}},
		{"proc-E normalising", "echo of a write that the remote spells in its own way", func(t *testing.T, w *world) {
			w.stored = stores["upper"]
			w.linked("1", r1, start)
			w.editLocal("1", "city", "Pushed", ago(1))
			wrote(t, w.run(options{}), "remote R1.city=PUSHED")
			silent(t, w, 3)
			holds(t, w, r1, "city", "Pushed|PUSHED")
		}},
		{"proc-H", "a required field emptied by the remote", func(t *testing.T, w *world) {
			w.rules["city"] = judge.Rule{Required: true}
			w.linked("1", r1, start)
			w.editRemote(r1, "city", "", ago(1))
			w.remote[remoteKey{"Contact", "R9"}] = &remoteRecord{values: texts("email=r9@x", "city=Fine"), modified: ago(1)}
			wrote(t, w.run(options{}), "local create Contact:R9", "local new Contact:R9.email=r9@x", "local new Contact:R9.city=Fine")
			if !slices.Equal(w.notices, []string{"R1.city"}) {
				t.Errorf("notices %q, want that of R1.city", w.notices)
			}
			holds(t, w, r1, "city", "Start|")
			silent(t, w, 2)
		}},
		{"proc-J", "two runs in one process", func(t *testing.T, w *world) {
			r7 := remoteKey{"Contact", "R7"}
			w.linked("1", r1, start)
			w.linked("7", r7, texts("email=g@x", "city=Start"))
			w.editLocal("7", "city", "First", ago(1))
			wrote(t, w.run(options{}), "remote R7.city=First")
			w.editLocal("1", "city", "Second", w.now)
			w.editLocal("7", "city", "Second", w.now)
			wrote(t, w.run(options{}), "remote R1.city=Second", "remote R7.city=Second")
			silent(t, w, 2)
		}},
		{"proc-K", "a change made during the push, in the same instant", func(t *testing.T, w *world) {
			w.linked("1", r1, start)
			w.editLocal("1", "city", "First", ago(1))
			w.during = func() { w.editLocal("1", "city", "Second", ago(1)) }
			wrote(t, w.run(options{}), "remote R1.city=First")
			wrote(t, w.run(options{}), "remote R1.city=Second")
			silent(t, w, 2)
		}},
		{"proc-N", "empty identity", func(t *testing.T, w *world) {
			w.local["1"] = &localRow{values: texts("email=", "city=Mine"), pending: map[string]change{}, modified: ago(5)}
			w.remote[r1] = &remoteRecord{values: texts("email=", "city=Theirs"), modified: ago(1)}
			w.run(options{})
			if w.local["1"].values["city"].Text != "Mine" || w.links[r1].key == "1" {
				t.Errorf("strangers without an address were taken for one: %q", w.writes)
			}
		}},
		{"proc-R", "a record that has to be fetched first", func(t *testing.T, w *world) {
			lead := remoteKey{"Lead", "9"}
			w.linked("1", r1, start)
			w.editLocal("1", "city", "Pending", ago(1))
			w.remote[lead] = &remoteRecord{values: texts("email=lead@x", "city=L"), modified: ago(240)}
			w.remote[remoteKey{"Contact", "R2"}] = &remoteRecord{values: texts("email=b@x", "city=B"), modified: ago(2), parent: lead}
			from := ago(72)
			got := w.run(options{noPush: true, from: from})
			if i := slices.IndexFunc(got, func(s string) bool { return strings.HasPrefix(s, "remote") }); i >= 0 {
				t.Errorf("a run without push wrote %q", got[i])
			}
			if w.links[lead] == nil {
				t.Error("the record that is referred to is missing")
			}
			for i, at := range w.windows {
				if !at.Equal(from) {
					t.Errorf("page %d was asked for from %v, want %v", i, at, from)
				}
			}
			wrote(t, w.run(options{}), "remote R1.city=Pending")
		}},
	}
	for _, c := range cases {
		t.Run(c.id, func(t *testing.T) {
			t.Parallel()
			t.Log(c.name)
			c.play(t, newWorld())
		})
	}
}

// holds checks a field of both sides, "local|remote".
func holds(t *testing.T, w *world, r remoteKey, field, want string) {
	t.Helper()
	if got := w.state(r, field); got != want {
		t.Errorf("%s of %s: %s, want %s", field, r.id, got, want)
	}
}

// silent runs that many times more; none may write.
func silent(t *testing.T, w *world, runs int) {
	t.Helper()
	for i := range runs {
		if got := w.run(options{}); len(got) > 0 {
			t.Errorf("%d. further run wrote %q", i+1, got)
		}
	}
}

func wrote(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("wrote %q, want %q", got, want)
	}
}

// TestEditStorm: whatever is edited on both sides between runs, two runs later
// they agree and stay silent; what only one side edited is what both hold, and a
// value that was overwritten on its own side, or lost, never comes back.
func TestEditStorm(t *testing.T) {
	t.Parallel()
	r1 := remoteKey{"Contact", "R1"}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		policy := rapid.SampledFrom([]judge.Policy{judge.Newest, judge.Local, judge.Remote}).Draw(t, "policy")
		w.rules = map[string]judge.Rule{"email": {Policy: policy, Required: true}, "city": {Policy: policy}}
		if rapid.Bool().Draw(t, "remote normalises") {
			w.stored = stores["upper"]
		}
		w.linked("1", r1, texts("email=START", "city=START"))
		mine, theirs := map[string]string{}, map[string]string{} // the last edits since a full run
		for i := range rapid.IntRange(1, 25).Draw(t, "steps") {
			w.now = w.now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "pause")) * time.Millisecond)
			field := rapid.SampledFrom(w.fields).Draw(t, "field")
			value := fmt.Sprintf("v%d", i)
			switch rapid.SampledFrom([]string{"local", "local", "remote", "remote", "run", "pull"}).Draw(t, "step") {
			case "local":
				w.editLocal("1", field, value, w.now)
				mine[field] = value
			case "remote":
				w.editRemote(r1, field, value, w.now)
				theirs[field] = value
			case "pull":
				w.run(options{noPush: true})
			case "run":
				w.run(options{})
				clear(mine)
				clear(theirs)
			}
		}
		w.run(options{})
		for _, f := range w.fields {
			here, there, _ := strings.Cut(w.state(r1, f), "|")
			if !strings.EqualFold(here, there) {
				t.Fatalf("%s: %s", f, w.state(r1, f))
			}
			m, edited := mine[f]
			th, editedThere := theirs[f]
			switch {
			case edited && editedThere && !strings.EqualFold(here, m) && !strings.EqualFold(here, th),
				edited && !editedThere && !strings.EqualFold(here, m),
				!edited && editedThere && !strings.EqualFold(here, th):
				t.Fatalf("%s is %s after the edits %q here and %q there", f, here, m, th)
			}
		}
		for range 2 {
			if got := w.run(options{}); len(got) > 0 {
				t.Fatalf("nothing was edited, yet %q", got)
			}
		}
	})
}
