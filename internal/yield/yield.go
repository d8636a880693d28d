// Package yield marks the points before an effect (a write, a publish, a
// remote call, an ack), so that a simulation can decide there what happens
// next: go on, crash, wait, or lose the answer. Without a hook a point costs
// one context look-up and does nothing.
package yield

import "context"

type key struct{}

// Hook is called at every point with its name. An error makes the caller fail
// as if the effect could not be tried; a hook may block.
type Hook func(ctx context.Context, point string) error

// With returns a context whose points call h.
func With(ctx context.Context, h Hook) context.Context { return context.WithValue(ctx, key{}, h) }

// Point calls the context's hook, if any. Names are "place.moment", such as
// "tx.before_commit" or "page.before_fetch".
func Point(ctx context.Context, name string) error {
	if h, ok := ctx.Value(key{}).(Hook); ok {
		return h(ctx, name)
	}
	return nil
}

type placeKey struct{}

// In names the one of several goroutines of a piece of work that a context belongs
// to: they may come to the same point at the same moment, and a simulation that is
// to repeat itself must tell them apart.
func In(ctx context.Context, place string) context.Context {
	return context.WithValue(ctx, placeKey{}, place)
}

// PlaceOf gives what In was told; "" nothing.
func PlaceOf(ctx context.Context) string {
	place, _ := ctx.Value(placeKey{}).(string)
	return place
}
