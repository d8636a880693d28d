package main

import "testing"

func TestPacePercent(t *testing.T) {
	t.Parallel()
	for live, want := range map[uint64]int{0: 700, quietHeap / 8: 700, quietHeap / 4: 300, quietHeap / 2: 100, quietHeap: 100, 1 << 34: 100} {
		if got := pacePercent(live); got != want {
			t.Errorf("with %d bytes in use: %d %%, want %d", live, got, want)
		}
	}
}
