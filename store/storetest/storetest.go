// Package storetest is the suite that a store passes on every database.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// Run tests the stores that open makes. Each call must give a store of its own
// with the schema in place; the suite closes none of them.
func Run(t *testing.T, open func(testing.TB) *store.DB) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(*testing.T, *store.DB)
	}{
		{"Channels", testChannels},
		{"Connectors", testConnectors},
		{"Entities", testEntities},
		{"RequestJoins", testRequestJoins},
		{"RequestRepeats", testRequestRepeats},
		{"RequestRace", testRequestRace},
		{"RequestMessages", testRequestMessages},
		{"RunLife", testRunLife},
		{"RunOrder", testRunOrder},
		{"RunLanes", testRunLanes},
		{"RunCancel", testRunCancel},
		{"RunList", testRunList},
		{"RunChanges", testRunChanges},
		{"OneExecutingRun", testOneExecutingRun},
		{"SliceCommit", testSliceCommit},
		{"SliceTurns", testSliceTurns},
		{"SliceAttempts", testSliceAttempts},
		{"LeaseLife", testLeaseLife},
		{"LeaseExpiry", testLeaseExpiry},
		{"LeaseOneTaker", testLeaseOneTaker},
		{"LeaseVoid", testLeaseVoid},
		{"TokenLife", testTokenLife},
		{"TokenExpiry", testTokenExpiry},
		{"TokenOneTaker", testTokenOneTaker},
		{"Breaker", testBreaker},
		{"Stats", testStats},
		{"WaitingTurns", testWaitingTurns},
		{"WaitingSlices", testWaitingSlices},
		{"WaitingPast", testWaitingPast},
		{"Links", testLinks},
		{"LinkIDsExact", testLinkIDsExact},
		{"LinkStates", testLinkStates},
		{"LinkLocks", testLinkLocks},
		{"LinkNumbers", testLinkNumbers},
		{"LinkStage", testLinkStage},
		{"LinkScan", testLinkScan},
		{"LinkInsert", testLinkInsert},
		{"LinkUpdate", testLinkUpdate},
		{"LinkLocksByLocal", testLinkLocksByLocal},
		{"SeenLinks", testSeenLinks},
		{"OpenOutward", testOpenOutward},
		{"Aliases", testAliases},
		{"MoveLink", testMoveLink},
		{"Relay", testRelay},
		{"RelayFuture", testRelayFuture},
		{"RelayEcho", testRelayEcho},
		{"RelaysAtOnce", testRelaysAtOnce},
		{"RelayRolledBack", testRelayRolledBack},
		{"RelayLate", testRelayLate},
		{"RelayDebounce", testRelayDebounce},
		{"RelayAfterFailure", testRelayAfterFailure},
		{"FetchChanges", testFetchChanges},
		{"ChangesWait", testChangesWait},
		{"Origin", testOrigin},
		{"DirtyClaim", testDirtyClaim},
		{"DirtyChanged", testDirtyChanged},
		{"DirtyTakeover", testDirtyTakeover},
		{"DirtyClaimers", testDirtyClaimers},
		{"DirtyDefer", testDirtyDefer},
		{"DirtyMark", testDirtyMark},
		{"DirtyDue", testDirtyDue},
		{"Intents", testIntents},
		{"Conflicts", testConflicts},
		{"ConflictsSettle", testConflictsSettle},
		{"Passes", testPasses},
		{"Echo", testEcho},
		{"History", testHistory},
		{"DeleteOutward", testDeleteOutward},
		{"PurgeOutward", testPurgeOutward},
		{"Watermarks", testWatermarks},
		{"Seen", testSeen},
		{"Candidates", testCandidates},
		{"Outbox", testOutbox},
		{"OutboxTakers", testOutboxTakers},
		{"SweepSlices", testSweepSlices},
		{"SweepRuns", testSweepRuns},
		{"SliceAwaitsLease", testSliceAwaitsLease},
		{"Parked", testParked},
		{"ParkedAgain", testParkedAgain},
		{"ParkedAttempts", testParkedAttempts},
		{"Made", testMade},
		{"ChangesBack", testChangesBack},
		{"SkippedOut", testSkippedOut},
		{"RequestExport", testRequestExport},
		{"ParkedRedacted", testParkedRedacted},
		{"ParkedFilters", testParkedFilters},
		{"ParkedSkips", testParkedSkips},
		{"ParkedUnseen", testParkedUnseen},
		{"Purge", testPurge},
		{"Ticks", testTicks},
		{"TickTwice", testTickTwice},
		{"TickJoins", testTickJoins},
		{"TickSchedulers", testTickSchedulers},
		{"TickOff", testTickOff},
		{"TickBackoff", testTickBackoff},
		{"TickClockBack", testTickClockBack},
		{"FullRead", testFullRead},
		{"DeleteChannel", testDeleteChannel},
		{"Keys", testKeys},
		{"Revisions", testRevisions},
		{"Reseal", testReseal},
		{"ReplaceKeys", testReplaceKeys},
		{"KeyRace", testKeyRace},
		{"Leavings", testLeavings},
		{"WriteRollsBack", testWriteRollsBack},
		{"WriteYields", testWriteYields},
		{"WriteConcurrent", testWriteConcurrent},
		{"WriteCancelled", testWriteCancelled},
		{"ReadOnly", testReadOnly},
		{"Session", testSession},
		{"Now", testNow},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, open(t))
		})
	}
}

// errUndo makes a transaction roll back on purpose.
var errUndo = errors.New("undo")

// write runs fn in a transaction that must succeed.
func write(t *testing.T, db *store.DB, fn func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	if err := db.Write(t.Context(), "test", fn); err != nil {
		t.Fatal(err)
	}
}

// read runs fn in a read transaction that must succeed.
func read(t *testing.T, db *store.DB, fn func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	if err := db.Read(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Fatalf("%s: got %v (code %q), want code %q", what, err, fault.CodeOf(err), code)
	}
}

func wantFenced(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, store.ErrFenced) {
		t.Fatalf("%s: got %v, want ErrFenced", what, err)
	}
}

// house is a store with a channel "crm" and the connectors "companies" (phase
// 0) and "contacts" (phase 1).
type house struct {
	db        *store.DB
	channel   int64
	companies int64
	contacts  int64
}

func newHouse(t *testing.T, db *store.DB) house {
	t.Helper()
	h := house{db: db}
	write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
		h, err = addHouse(ctx, tx, db, "crm")
		return err
	})
	return h
}

func addHouse(ctx context.Context, tx *store.Tx, db *store.DB, name string) (house, error) {
	h := house{db: db}
	var err error
	h.channel, _, _, err = tx.PutChannel(ctx, store.Channel{Name: name, Type: "rest", Enabled: true, Settings: json.RawMessage(`{}`)})
	if err != nil {
		return h, err
	}
	list, err := tx.PutConnectors(ctx, h.channel, []store.Connector{{Name: "companies"}, {Name: "contacts", Ord: 1}})
	if err != nil {
		return h, err
	}
	h.companies, h.contacts = list[0].ID, list[1].ID
	return h, nil
}

// request adds a request and gives what came of it.
func (h house) request(t *testing.T, r store.Request, joinable bool) (run store.Run, joined, repeated bool) {
	t.Helper()
	r.ChannelID = h.channel
	write(t, h.db, func(ctx context.Context, tx *store.Tx) (err error) {
		run, joined, repeated, err = tx.AddRequest(ctx, r, joinable)
		return err
	})
	return run, joined, repeated
}

// plan adds a request that gets a run of its own.
func (h house) plan(t *testing.T, spec store.Spec) store.Run {
	t.Helper()
	run, joined, repeated := h.request(t, store.Request{Spec: spec}, false)
	if joined || repeated {
		t.Fatalf("joined %v, repeated %v", joined, repeated)
	}
	return run
}

// start starts a run with a slice for each connector.
func (h house) start(t *testing.T, runID int64) (started bool) {
	t.Helper()
	write(t, h.db, func(ctx context.Context, tx *store.Tx) (err error) {
		started, err = tx.StartRun(ctx, runID, []store.Slice{{ConnectorID: h.companies}, {ConnectorID: h.contacts, Ord: 1}})
		return err
	})
	return started
}

// started plans and starts a run and gives its slices.
func (h house) started(t *testing.T) (store.Run, []store.Slice) {
	t.Helper()
	run := h.plan(t, store.Spec{})
	if !h.start(t, run.ID) {
		t.Fatal("the run did not start")
	}
	return h.run(t, run.ID), h.slices(t, run.ID)
}

func (h house) run(t *testing.T, id int64) (run store.Run) {
	t.Helper()
	read(t, h.db, func(ctx context.Context, tx *store.Tx) (err error) {
		run, err = tx.Run(ctx, id)
		return err
	})
	return run
}

func (h house) slices(t *testing.T, runID int64) (list []store.Slice) {
	t.Helper()
	read(t, h.db, func(ctx context.Context, tx *store.Tx) (err error) {
		list, err = tx.Slices(ctx, runID)
		return err
	})
	return list
}

func (h house) finish(t *testing.T, runID int64, status store.Status) (next int64) {
	t.Helper()
	write(t, h.db, func(ctx context.Context, tx *store.Tx) (err error) {
		next, err = tx.FinishRun(ctx, runID, status, nil)
		return err
	})
	return next
}

// takeAll empties the outbox and gives "key body" of each message.
func (h house) takeAll(t *testing.T) (out []string) {
	t.Helper()
	write(t, h.db, func(ctx context.Context, tx *store.Tx) error {
		const most = 1000
		list, err := tx.TakeOutgoing(ctx, most)
		out = nil
		for _, m := range list {
			out = append(out, m.Key+" "+string(m.Body))
		}
		return err
	})
	return out
}

func wantMessages(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) || len(got) != len(want) {
		t.Fatalf("messages: got %q, want %q", got, want)
	}
}

func at(s string) *time.Time {
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return &v
}
