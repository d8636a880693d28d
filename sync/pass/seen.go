package pass

import (
	"sync"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
)

// seenSet holds the links this run has met, by their dense ids, so that a
// million of them cost a few hundred KiB, and a hash of the remote ids without a
// link, so that no record counts twice. Batches in flight ask while committed
// ones add.
type seenSet struct {
	mu            sync.RWMutex
	links, others *roaring64.Bitmap
}

func newSeenSet() *seenSet { return &seenSet{links: roaring64.New(), others: roaring64.New()} }

func (s *seenSet) has(link uint64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.links.Contains(link)
}

// all reports whether the run has met all of these links.
func (s *seenSet) all(links []uint64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, l := range links {
		if !s.links.Contains(l) {
			return false
		}
	}
	return true
}

func (s *seenSet) hasOther(hash uint64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.others.Contains(hash)
}

func (s *seenSet) add(links, others []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links.AddMany(links)
	s.others.AddMany(others)
}
