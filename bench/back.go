package main

import (
	"context"
	"slices"
)

// back is what is measured of the way from the local tables to a remote.
type back struct {
	Reverse []reverseRow `json:"reverse,omitempty"`
	Delay   []delayRow   `json:"delay,omitempty"`
	Capture []captureRow `json:"capture,omitempty"`
}

func (b *bench) measureBack(ctx context.Context, databases []string) (err error) {
	if b.capture && !b.idealOnly {
		if b.back.Capture, err = b.measureCapture(ctx, databases); err != nil {
			return err
		}
	}
	if b.delay > 0 && !b.idealOnly {
		if b.back.Delay, err = b.measureDelay(ctx, databases); err != nil {
			return err
		}
	}
	if b.reverse && !b.idealOnly {
		b.back.Reverse, err = b.measureReverse(ctx, slices.Clone(databases))
	}
	return err
}

func (b back) print() {
	if len(b.Capture) > 0 {
		printCapture(b.Capture)
	}
	if len(b.Delay) > 0 {
		printDelay(b.Delay)
	}
	if len(b.Reverse) > 0 {
		printReverse(b.Reverse)
	}
}
