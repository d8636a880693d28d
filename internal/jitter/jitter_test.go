package jitter_test

import (
	"context"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/internal/jitter"
)

func TestBetween(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for range 1000 {
		if d := jitter.Between(ctx, time.Second, 2*time.Second); d < time.Second || d >= 2*time.Second {
			t.Fatalf("%v is outside [1s, 2s)", d)
		}
	}
	if d := jitter.Between(ctx, time.Second, time.Second); d != time.Second {
		t.Errorf("an empty range gave %v", d)
	}
	fixed := jitter.With(ctx, func(n int64) int64 { return n / 2 })
	if d := jitter.Between(fixed, 0, 10*time.Second); d != 5*time.Second {
		t.Errorf("the context's source was not used: %v", d)
	}
}
