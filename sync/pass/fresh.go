package pass

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/bits-and-blooms/bloom/v3"

	"github.com/tandem-sync/tandem/store"
)

// freshness saves look-ups on a first sync. While the connector had no link
// when the slice began, a remote id can only be linked if this slice linked it;
// while the table was empty, an identity can only be taken by a row this slice
// made. A filter of fixed size remembers both: "no" is certain, "maybe" is
// looked up. After the slice, everything is looked up again.
type freshness struct {
	noLinks, noRows bool
	ids, identities *bloom.BloomFilter
}

// filterBits is 2 MiB. Each further probe is a cache miss for every record, so
// there are only three: no needless look-up to speak of up to 400,000 ids, below
// 2 % up to 1.7 million.
const (
	filterBits   = 2 << 23
	filterProbes = 3
)

func newFreshness(ctx context.Context, tx *store.Tx, c Connector) (*freshness, error) {
	f := &freshness{}
	has, err := tx.HasLinks(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	empty, err := c.Local.Empty(ctx, tx)
	if err != nil {
		return nil, err
	}
	f.noLinks, f.noRows = !has, empty
	if f.noLinks {
		f.ids = bloom.New(filterBits, filterProbes)
	}
	if f.noRows && len(c.Manual.Match()) > 0 {
		f.identities = bloom.New(filterBits, filterProbes)
	}
	return f, nil
}

// mayBeLinked reports whether the remote id has to be looked up, and remembers
// it.
func (f *freshness) mayBeLinked(id string) bool {
	return !f.noLinks || f.ids.TestOrAddString(id)
}

// mayBeTaken reports whether the identity has to be looked up, and remembers it.
func (f *freshness) mayBeTaken(identity string) bool {
	return !f.noRows || f.identities.TestOrAddString(identity)
}

// linkIDs hands out ids for new links from blocks of the database's sequence.
// A rolled back block is dropped: on SQLite its numbers come again.
type linkIDs struct {
	mu         sync.Mutex
	next, ends int64
}

const linkIDBlock = 10000

func (l *linkIDs) take(ctx context.Context, tx *store.Tx, n int64) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ends-l.next < n {
		size := max(n, linkIDBlock)
		first, err := tx.ReserveLinkIDs(ctx, int(size))
		if err != nil {
			return 0, err
		}
		l.next, l.ends = first, first+size
	}
	first := l.next
	l.next += n
	return first, nil
}

func (l *linkIDs) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next, l.ends = 0, 0
}

// encodeIDs packs ascending ids as differences.
func encodeIDs(ids []uint64) []byte {
	out := make([]byte, 0, len(ids)*2)
	prev := uint64(0)
	for _, id := range ids {
		out = binary.AppendUvarint(out, id-prev)
		prev = id
	}
	return out
}

func decodeIDs(b []byte) ([]uint64, error) {
	var ids []uint64
	prev := uint64(0)
	for len(b) > 0 {
		d, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, fmt.Errorf("seen ids: damaged at %d bytes from the end", len(b))
		}
		prev += d
		ids = append(ids, prev)
		b = b[n:]
	}
	return ids, nil
}
