package judge_test

import (
	"testing"
	"time"

	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/record"
)

func TestToLocal(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return time.Unix(int64(1_700_000_000+s), 0) }
	a, b := record.T("a"), record.T("b")
	tests := []struct {
		name   string
		policy judge.Policy
		claim  judge.Claim
		want   judge.Verdict
	}{
		{"absent says nothing", judge.Remote, judge.Claim{Local: a}, judge.Verdict{Winner: judge.WinNone, Reason: "absent", Conflict: false}},
		{"equal settles", judge.Newest, judge.Claim{Local: a, Remote: a, HasBase: true, LocalChanged: true, RemoteChanged: true}, judge.Verdict{Winner: judge.WinNone, Reason: "equal", Conflict: false}},
		{"remote change wins", judge.Newest, judge.Claim{Local: a, Remote: b, HasBase: true, RemoteChanged: true}, judge.Verdict{Winner: judge.WinRemote, Reason: "remote_changed", Conflict: false}},
		{"local edit is held", judge.Remote, judge.Claim{Local: a, Remote: b, HasBase: true, LocalChanged: true}, judge.Verdict{Winner: judge.WinNone, Reason: "local_edit_held", Conflict: false}},
		{"both changed: one way", judge.Local, judge.Claim{Local: a, Remote: b, HasBase: true, LocalChanged: true, RemoteChanged: true}, judge.Verdict{Winner: judge.WinRemote, Reason: "one_way", Conflict: true}},
		{"a remote null is a value", judge.Newest, judge.Claim{Local: a, Remote: record.NullValue, HasBase: true, RemoteChanged: true}, judge.Verdict{Winner: judge.WinRemote, Reason: "remote_changed", Conflict: false}},
		{"first link fills the empty side", judge.Local, judge.Claim{Local: record.NullValue, Remote: b}, judge.Verdict{Winner: judge.WinRemote, Reason: "first_link", Conflict: false}},
		{"first link keeps against an empty remote", judge.Remote, judge.Claim{Local: a, Remote: record.T("")}, judge.Verdict{Winner: judge.WinLocal, Reason: "first_link", Conflict: false}},
		{"first link, remote policy", judge.Remote, judge.Claim{Local: a, Remote: b}, judge.Verdict{Winner: judge.WinRemote, Reason: "first_link", Conflict: true}},
		{"first link, local policy", judge.Local, judge.Claim{Local: a, Remote: b}, judge.Verdict{Winner: judge.WinLocal, Reason: "first_link", Conflict: true}},
		{"first link, manual", judge.Manual, judge.Claim{Local: a, Remote: b}, judge.Verdict{Winner: judge.WinUnresolved, Reason: "manual", Conflict: true}},
		{"first link, newest remote", judge.Newest, judge.Claim{Local: a, Remote: b, LocalAt: at(0), RemoteAt: at(5)}, judge.Verdict{Winner: judge.WinRemote, Reason: "first_link", Conflict: true}},
		{"first link, newest local", judge.Newest, judge.Claim{Local: a, Remote: b, LocalAt: at(5), RemoteAt: at(0)}, judge.Verdict{Winner: judge.WinLocal, Reason: "first_link", Conflict: true}},
		{"first link, tie", judge.Newest, judge.Claim{Local: a, Remote: b, LocalAt: at(5), RemoteAt: at(5)}, judge.Verdict{Winner: judge.WinLocal, Reason: "tie", Conflict: true}},
		{"first link, evidence without the fields' times", judge.EvidenceHard, judge.Claim{Local: a, Remote: b, LocalAt: at(5), RemoteAt: at(5)}, judge.Verdict{Winner: judge.WinLocal, Reason: "tie", Conflict: true}},
		{"first link, both empty", judge.Local, judge.Claim{Local: record.NullValue, Remote: record.T("")}, judge.Verdict{Winner: judge.WinRemote, Reason: "first_link", Conflict: false}},
		{"first link, no time", judge.Newest, judge.Claim{Local: a, Remote: b, RemoteAt: at(5)}, judge.Verdict{Winner: judge.WinLocal, Reason: "no_time", Conflict: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := judge.ToLocal(tt.policy, tt.claim); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
