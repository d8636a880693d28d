package store

import (
	"time"

	"github.com/tandem-sync/tandem/fault"
)

// fullAt is a write that failed for want of room.
type fullAt struct {
	err error
	at  time.Time
}

// fullFor is how long one failed write stands for a full disk. Work that wants
// to go on tries more often than that.
const fullFor = 30 * time.Second

// Full gives the error of this process's latest write that found no room, or
// nil when there is room as far as is known. A full disk cannot keep the reason
// why runs wait, so it is kept here.
func (db *DB) Full() error {
	f := db.noRoom.Load()
	if f == nil || db.clock.Now().Sub(f.at) > fullFor {
		return nil
	}
	return f.err
}

// noteRoom remembers a write that found no room.
func (db *DB) noteRoom(err error) {
	if err == nil {
		return // perhaps it had nothing to write
	}
	if err = Classify(err); fault.CodeOf(err) == CodeDiskFull {
		db.noRoom.Store(&fullAt{err: err, at: db.clock.Now()})
	}
}

// hasRoom is noteRoom for a batch: one that succeeds did write.
func (db *DB) hasRoom(err error) {
	if err == nil {
		db.noRoom.Store(nil)
		return
	}
	db.noteRoom(err)
}
