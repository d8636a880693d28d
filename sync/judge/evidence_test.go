package judge_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/sync/judge"
)

// TestMauticCases: the 24 tests of Mautic's own judge.
func TestMauticCases(t *testing.T) {
	t.Parallel()
	type side struct {
		Certain  *time.Time `json:"certain_change"`
		Possible *time.Time `json:"possible_change"`
	}
	var file struct {
		Cases []struct {
			ID, Test, Mode, Expect string
			Left, Right            side
		}
	}
	b, err := os.ReadFile("testdata/mautic-judge.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) != 24 {
		t.Fatalf("%d cases, want 24", len(file.Cases))
	}
	times := func(s side) (out judge.Times) {
		if s.Certain != nil {
			out.Field = *s.Certain
		}
		if s.Possible != nil {
			out.Record = *s.Possible
		}
		return out
	}
	for _, c := range file.Cases {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			w, why := judge.Evidence(judge.Mode(c.Mode), times(c.Left), times(c.Right))
			if w.String() != c.Expect || why == "" {
				t.Errorf("%s: %v (%q), want %s", c.Test, w, why, c.Expect)
			}
		})
	}
}

// decisions is the rule of every mode as a table. A row tells, for four pairs of
// times, how the first compares with the second: > and < for later and earlier,
// = for the same instant, ? for one of them unknown. The rows are disjoint and
// complete: exactly one fits any four times.
//
//	fields  records  left's field  right's field  winner
//	                 and right's   and left's
//	                 record        record
const decisions = `
	hard            >       ><=?     ><=?          ><=?           left
	hard            <       ><=?     ><=?          ><=?           right
	hard            =?      ><=?     ><=?          ><=?           unresolved

	best            >       ><=?     ><=?          ><=?           left
	best            <       ><=?     ><=?          ><=?           right
	best            =?      >        ><=?          ><=?           left
	best            =?      <        ><=?          ><=?           right
	best            =?      =?       ><=?          ><=?           unresolved

	fuzzy           >       ><=?     ><=?          ><=?           left
	fuzzy           <       ><=?     ><=?          ><=?           right
	fuzzy           =?      >        ><=?          ><=?           left
	fuzzy           =?      <        ><=?          ><=?           right
	fuzzy           =?      =?       >             ><=?           left
	fuzzy           =?      =?       <=?           >              right
	fuzzy           =?      =?       <=?           <=?            unresolved
`

// oracle looks the four times up in the table. Times are small numbers here, 0
// is unknown.
func oracle(mode string, leftField, leftRecord, rightField, rightRecord int) (string, error) {
	sign := func(a, b int) string {
		if a == 0 || b == 0 {
			return "?"
		}
		return [...]string{"<", "=", ">"}[min(max(a-b, -1), 1)+1]
	}
	signs := []string{
		sign(leftField, rightField), sign(leftRecord, rightRecord),
		sign(leftField, rightRecord), sign(rightField, leftRecord),
	}
	var found []string
rows:
	for line := range strings.Lines(decisions) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != mode {
			continue
		}
		for i, s := range signs {
			if !strings.Contains(f[i+1], s) {
				continue rows
			}
		}
		found = append(found, f[5])
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%d rows fit %s %v", len(found), mode, signs)
	}
	return found[0], nil
}

// instant makes a time of a small number.
func instant(n int) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(1_700_000_000+int64(n), 0).UTC()
}

// evidence judges four small numbers. The sides speak of time in different zones,
// so that only instants can be compared.
func evidence(m judge.Mode, lf, lr, rf, rr int) judge.Winner {
	far := func(n int) time.Time {
		if n == 0 {
			return time.Time{}
		}
		return instant(n).In(time.FixedZone("", 5*3600))
	}
	w, _ := judge.Evidence(m, judge.Times{Field: instant(lf), Record: instant(lr)}, judge.Times{Field: far(rf), Record: far(rr)})
	return w
}

// everyFourTimes calls fn for each of the 5^4 combinations of unknown and four
// instants: all ways in which four times can be ordered, equal or not known.
func everyFourTimes(fn func(leftField, leftRecord, rightField, rightRecord int)) {
	for i := range 625 {
		fn(i%5, i/5%5, i/25%5, i/125)
	}
}

func TestEvidenceAgainstTheTable(t *testing.T) {
	t.Parallel()
	for _, mode := range []judge.Mode{judge.Hard, judge.Best, judge.Fuzzy} {
		winners := map[string]int{}
		everyFourTimes(func(lf, lr, rf, rr int) {
			want, err := oracle(string(mode), lf, lr, rf, rr)
			if err != nil {
				t.Fatal(err)
			}
			got := evidence(mode, lf, lr, rf, rr)
			if got.String() != want {
				t.Errorf("%s left %d/%d right %d/%d: %v, want %s", mode, lf, lr, rf, rr, got, want)
			}
			winners[want]++
		})
		if len(winners) != 3 || winners["left"]+winners["right"]+winners["unresolved"] != 625 {
			t.Errorf("%s: %v", mode, winners)
		}
	}
}

// TestEvidenceIsMauticsToTheCorners: what Mautic's judge is known to do where its
// tests do not look.
func TestEvidenceIsMauticsToTheCorners(t *testing.T) {
	t.Parallel()
	if got := evidence(judge.Best, 3, 1, 0, 2); got != judge.WinRemote {
		t.Errorf("records overrule the only known field: %v, want right", got)
	}
	hidden := 0
	everyFourTimes(func(lf, lr, rf, rr int) {
		fuzzy := evidence(judge.Fuzzy, lf, lr, rf, rr)
		ladder := judge.WinUnresolved
		for _, m := range []judge.Mode{judge.Hard, judge.Best, judge.Fuzzy} {
			if ladder == judge.WinUnresolved {
				ladder = evidence(m, lf, lr, rf, rr)
			}
		}
		if ladder != fuzzy {
			t.Errorf("left %d/%d right %d/%d: hard, best, fuzzy in turn give %v, fuzzy alone %v", lf, lr, rf, rr, ladder, fuzzy)
		}
		if other := evidence("anything", lf, lr, rf, rr); other != fuzzy {
			t.Errorf("an unknown mode gives %v, fuzzy %v", other, fuzzy)
		}
		if lf != 0 && lf == rf && lr != 0 && lr == rr && fuzzy != judge.WinUnresolved {
			hidden++
			if fuzzy != judge.WinLocal || lf < lr {
				t.Errorf("left %d/%d right the same: %v", lf, lr, fuzzy)
			}
		}
	})
	if hidden != 6 {
		t.Errorf("%d combinations are settled by the hidden tie-break, want 6", hidden)
	}
}
