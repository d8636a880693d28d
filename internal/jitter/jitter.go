// Package jitter spreads waits at random, so that many workers that failed
// together do not come back together. A context can carry a source of its own,
// with which a simulation makes the waits repeatable.
package jitter

import (
	"context"
	"math/rand/v2"
	"time"
)

type key struct{}

// Source gives a number in [0, n).
type Source func(n int64) int64

// With returns a context whose waits come from src.
func With(ctx context.Context, src Source) context.Context { return context.WithValue(ctx, key{}, src) }

// Between gives a wait in [low, high); low when the range is empty.
func Between(ctx context.Context, low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	n := int64(high - low)
	if src, ok := ctx.Value(key{}).(Source); ok {
		return low + time.Duration(src(n))
	}
	return low + time.Duration(rand.Int64N(n)) //nolint:gosec // spreading load needs no secrecy
}
