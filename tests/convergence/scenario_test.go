package convergence

import (
	"cmp"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
)

// scenario is everything that a history depends on: the same one is the same
// history on every machine. It is data, so that a failing one can be made
// smaller and kept.
type scenario struct {
	Seed    uint64 `json:"seed"` // of the schedule
	Shape   shape  `json:"shape"`
	Steps   int    `json:"steps"` // how many effects are scheduled before the faults end
	Actions []act  `json:"actions"`
	Faults  []mess `json:"faults"`
}

// shape is what is deployed.
type shape struct {
	Conflict string    `json:"conflict"`
	Chain    bool      `json:"chain"` // A only to here, from here only to B
	Batch    int       `json:"batch"` // records of a transaction
	Records  int       `json:"records"`
	Rows     int       `json:"rows"`           // rows from before, one of them A's, one B's
	Auto     bool      `json:"auto,omitempty"` // the table's keys never come again by themselves
	Clocks   [2]int    `json:"clocks"`
	Remotes  [2]traits `json:"remotes"`
}

// traits are what a remote can do and how it behaves.
type traits struct {
	Safety  string `json:"safety"`
	Settle  int    `json:"settle"` // seconds until a new record is found
	Batch   int    `json:"batch"`  // records of a call
	Answers bool   `json:"answers"`
	Upper   bool   `json:"upper"`  // spells what it stores in capitals
	Guards  bool   `json:"guards"` // knows preconditions
	Finds   bool   `json:"finds"`
	Tombs   bool   `json:"tombs"`
	Offset  bool   `json:"offset"`
	Page    int    `json:"page"`
	Skew    int    `json:"skew"`           // seconds
	Late    int    `json:"late,omitempty"` // seconds until a listing of changes shows one
}

// act is something that people do.
type act struct {
	Step int    `json:"step"`
	What string `json:"what"`
	At   string `json:"at,omitempty"` // L, A or B
	Row  int    `json:"row,omitempty"`
	Also int    `json:"also,omitempty"`
	// On waits for a worker to come to a point, and is about the records that it
	// deals with there; R in At is the remote they are of. Hold is for how many
	// steps the worker is held up there.
	On   string `json:"on,omitempty"`
	Hold int    `json:"hold,omitempty"`

	who string // whose record; "" that of Row
}

// mess is something that goes wrong, at the first effect from its step on that it
// can happen to.
type mess struct {
	Step int    `json:"step"`
	What string `json:"what"`
	At   string `json:"at,omitempty"` // the remote
	Arg  int    `json:"arg,omitempty"`
}

// What people do.
const (
	actEdit   = "edit"   // one field of one record
	actEdits  = "edits"  // fields of several rows in one transaction
	actCreate = "create" // a record with an identity of its own
	actDelete = "delete"
	actReuse  = "reuse" // a row is removed and its key given to another one
	actTwin   = "twin"  // the same record is created here and at the remote
	actClash  = "clash" // one field of one record, here and at the remote at once
	actSync   = "sync"  // somebody asks for a run
	actFull   = "full"
	actPush   = "push"
)

// What goes wrong.
const (
	faultCrash   = "crash"
	faultLost    = "lost answer"  // of a commit
	faultPause   = "pause"        // everybody's, past the lease
	faultFreeze  = "freeze"       // one worker's, while the others go on
	faultQueues  = "queues lost"  //
	faultDouble  = "doubled"      // a message
	faultDrop    = "dropped"      // a message
	faultBusy    = "429"          // a remote's answers from here on
	faultBroken  = "500"          //
	faultBefore  = "cut before"   // the call does not arrive
	faultAfter   = "cut after"    // the answer does not arrive
	faultChanged = "precondition" // 409, 412
	faultClock   = "clock"        // a worker's clock jumps
	faultWorker  = "dead in call" // the worker dies when its call has had its effect
)

// generate makes the scenario of a seed.
func generate(seed uint64) scenario {
	rng := rand.New(rand.NewPCG(seed, 3))
	s := scenario{Seed: seed, Shape: someShape(rng), Steps: 260 + rng.IntN(240)}
	for range 12 + rng.IntN(30) {
		a := someAct(rng, &s)
		s.Actions = append(s.Actions, a)
		if a.At != "L" && (a.What == actClash || a.What == actEdit && rng.IntN(3) == 0) {
			// And somebody asks at once for what has just been done.
			s.Actions = append(s.Actions, act{Step: a.Step + rng.IntN(3), What: actSync, At: a.At})
		}
	}
	for range rng.IntN(9) {
		s.Actions = append(s.Actions, someAmbush(rng, &s))
	}
	if rng.IntN(10) > 0 {
		for range rng.IntN(22) {
			s.Faults = append(s.Faults, someMess(rng, s.Steps))
		}
	}
	slices.SortStableFunc(s.Actions, func(a, b act) int { return cmp.Compare(a.Step, b.Step) })
	slices.SortStableFunc(s.Faults, func(a, b mess) int { return cmp.Compare(a.Step, b.Step) })
	return s
}

func oneOf[T any](rng *rand.Rand, list ...T) T { return list[rng.IntN(len(list))] }

func someShape(rng *rand.Rand) shape {
	s := shape{
		Conflict: oneOf(rng, "newest", "newest", "local", "remote"),
		Chain:    rng.IntN(8) == 0, Batch: 2 + rng.IntN(6), Records: 1 + rng.IntN(5), Rows: 2 + rng.IntN(3),
	}
	s.Auto = rng.IntN(4) > 0
	if s.Chain {
		s.Rows = 0 // what is here already stands until A changes it: they need not agree
	}
	for i := range s.Clocks {
		s.Clocks[i] = rng.IntN(1200) - 600
		s.Remotes[i] = someTraits(rng)
	}
	return s
}

func someTraits(rng *rand.Rand) traits {
	t := traits{
		Safety: oneOf(rng, "A", "B", "B", "C"), Batch: oneOf(rng, 1, 1, 3, 100), Answers: rng.IntN(2) == 0, Upper: rng.IntN(8) == 0,
		Guards: rng.IntN(3) == 0, Finds: rng.IntN(2) == 0, Tombs: rng.IntN(2) == 0, Offset: rng.IntN(2) == 0,
		Page: 2 + rng.IntN(5), Skew: rng.IntN(1200) - 600,
	}
	if t.Upper {
		t.Answers = true // what a remote makes of a value can be known only if it tells
	}
	if t.Safety == "C" {
		t.Settle = rng.IntN(8)
	}
	if rng.IntN(2) == 0 {
		t.Late = 1 + rng.IntN(7) // the overlap is ten seconds
	}
	return t
}

// someAmbush is what people do just when a worker deals with the record.
func someAmbush(rng *rand.Rand, s *scenario) act {
	a := act{
		Step: rng.IntN(s.Steps), What: oneOf(rng, actEdit, actEdit, actEdit, actEdit, actClash, actDelete), At: oneOf(rng, "L", "L", "R"), Row: rng.IntN(12), Also: rng.IntN(12),
		On: oneOf(rng, "remote.write", "remote.written", "export.after_write", "tx.wait export.settle", "page.after_fetch", "page.after_fetch",
			"page.after_fetch", "tx.wait batch", "plan.before_lookup", "remote.get", "remote.find"),
	}
	if rng.IntN(3) == 0 {
		return a
	}
	a.Hold = 10 + rng.IntN(90)
	if strings.HasPrefix(a.On, "p") {
		a.Hold += 90 // what was read grows old meanwhile
	}
	return a
}

func someAct(rng *rand.Rand, s *scenario) act {
	a := act{Step: rng.IntN(s.Steps), At: oneOf(rng, "L", "L", "A", "B"), Row: rng.IntN(12), Also: rng.IntN(12)}
	switch n := rng.IntN(42); {
	case n < 18:
		a.What = actEdit
	case n < 21:
		a.What, a.At = actEdits, "L"
	case n < 26:
		a.What = actCreate
	case n < 29:
		a.What = actDelete
	case n < 30:
		a.What, a.At = actReuse, "L"
	case n < 32:
		a.What, a.At = actTwin, oneOf(rng, "A", "B")
	case n < 34:
		a.What, a.At = actClash, oneOf(rng, "A", "B")
	case n < 39:
		a.What, a.At = actSync, oneOf(rng, "A", "B")
	case n < 40:
		a.What, a.At = actFull, oneOf(rng, "A", "B")
	default:
		a.What, a.At = actPush, oneOf(rng, "A", "B")
	}
	return a
}

func someMess(rng *rand.Rand, steps int) mess {
	return mess{
		Step: rng.IntN(steps), At: oneOf(rng, "A", "B"), Arg: rng.IntN(1000),
		What: oneOf(rng, faultCrash, faultCrash, faultLost, faultLost, faultPause, faultFreeze, faultQueues, faultDouble, faultDrop,
			faultBusy, faultBroken, faultBefore, faultAfter, faultAfter, faultChanged, faultClock, faultWorker, faultWorker),
	}
}

func (s scenario) json() string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // plain data always encodes
	}
	return string(b)
}
