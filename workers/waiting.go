package workers

import (
	"context"
	"errors"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/transport"
)

// longPause makes a quota of a wish to wait: short ones are about the pace.
const longPause = 10 * time.Minute

// pauseReason gives the word and the sentence for a slice that was asked to wait.
func pauseReason(err error) string {
	word := store.WaitRateLimited
	switch {
	case fault.CodeOf(err) == transport.CodeBreakerOpen:
		word = store.WaitBreakerOpen
	case fault.CodeOf(err) == "daily_limit" || fault.CodeOf(err) == "quota" || fault.RetryAfterOf(err) >= longPause:
		word = store.WaitQuota
	}
	return store.WaitReason(word, err.Error())
}

// busyQuiet is how long a slice must have stood still before a busy lease counts
// as somebody else's.
const busyQuiet = 5 * time.Second

// noteBusy notes on a slice that its lease is in other hands.
func (p *processor) noteBusy(ctx context.Context, sliceID int64) error {
	err := p.cfg.DB.Write(ctx, "slice.busy", func(ctx context.Context, tx *store.Tx) error {
		return tx.NoteBusy(ctx, sliceID, busyQuiet)
	})
	if errors.Is(err, store.ErrCommitUnknown) {
		return nil // it is for people to look at
	}
	return err
}
