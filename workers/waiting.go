package workers

import (
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
