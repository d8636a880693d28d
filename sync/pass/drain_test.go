package pass_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/pass"
)

// hanging is memory whose page number n never comes.
type hanging struct {
	*memory
	n       int
	reached chan struct{}
}

func (h hanging) Reader(ctx context.Context, req channels.ReadRequest) (channels.Reader, error) {
	r, err := h.memory.Reader(ctx, req)
	return &hangingReader{Reader: r, h: h}, err
}

type hangingReader struct {
	channels.Reader
	h    hanging
	page int
}

func (r *hangingReader) ReadPage(ctx context.Context) (channels.Page, error) {
	if r.page++; r.page == r.h.n {
		close(r.h.reached)
		<-ctx.Done()
		return channels.Page{}, ctx.Err()
	}
	return r.Reader.ReadPage(ctx)
}

// TestDrainDoesNotWaitForAPage: told to end while the remote owes a page, the
// slice commits the pages that came and ends; the next delivery reads on there.
func TestDrainDoesNotWaitForAPage(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		for i := range 10 {
			b.remote.put(fmt.Sprint(i), "email", fmt.Sprintf("%d@example.com", i))
		}
		h := hanging{memory: b.remote, n: 3, reached: make(chan struct{})}
		b.opts = func(c *pass.Connector) { c.Remote = h }
		in := b.begin(store.Spec{})
		soft := make(chan struct{})
		in.Soft = soft
		go func() {
			<-h.reached
			close(soft)
		}()
		began := time.Now()
		out, err := b.pass().Run(t.Context(), in)
		if took := time.Since(began); err != nil || out.Done || !out.Progress || took > time.Minute {
			t.Fatalf("drained with %+v, %v within %v", out, err, took)
		}
		in = b.again(in)
		if in.Slice.Counters.Read != 6 || b.number("SELECT count(*) FROM contacts") != 6 {
			t.Fatalf("%d records are counted, %d are there, want 6", in.Slice.Counters.Read, b.number("SELECT count(*) FROM contacts"))
		}
		b.opts, in.Soft = nil, nil
		out, err = b.pass().Run(t.Context(), in)
		if err != nil || !out.Done {
			t.Fatalf("the next delivery: %+v, %v", out, err)
		}
		if n := b.again(in).Slice.Counters.Read; n != 10 {
			t.Errorf("read %d records in all, want 10", n)
		}
	})
}
