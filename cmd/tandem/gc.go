package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// quietHeap is how large the heap may grow before the garbage collector runs,
// however little of it is in use. Go's own floor is 4 MiB: a sync that keeps
// 5 MiB then collects every few dozen pages and spends a fifth of its CPU on it.
const quietHeap = 32 << 20

// paceCollector gives the collector that floor. Above it nothing changes, and
// neither does anything where the user sets GOGC. A repeated call does no harm.
func paceCollector(env func(string) (string, bool)) {
	if _, set := env("GOGC"); set {
		return
	}
	p := &pacer{percent: 100, live: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
	p.adjust()
}

// pacer is garbage again and again: its finalizer runs after each collection.
// That it holds a pointer keeps it out of a block with other small objects,
// which could keep it alive.
type pacer struct {
	percent int
	live    []metrics.Sample
}

func (p *pacer) adjust() {
	metrics.Read(p.live)
	percent := pacePercent(p.live[0].Value.Uint64())
	if change := percent - p.percent; change > p.percent/10 || change < -p.percent/10 {
		p.percent = percent
		debug.SetGCPercent(percent)
	}
	runtime.SetFinalizer(p, (*pacer).adjust)
}

// pacePercent is the growth after which a heap with so many bytes in use is
// collected again: Go's own 100 %, or what leads to quietHeap.
func pacePercent(live uint64) int {
	if live >= quietHeap/2 {
		return 100
	}
	return int(quietHeap*100/max(live, quietHeap/8) - 100) // #nosec G115 -- at most 700
}
