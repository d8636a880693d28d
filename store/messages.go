package store

import "encoding/json"

// The routing keys of messages that the store itself puts into the outbox.
const (
	keySync    = "sync"
	keySyncNow = "sync.now"
	keyReverse = "reverse-sync"
)

// message is the body of a job message about a run or one of its slices.
type message struct {
	V       int    `json:"v"`
	Type    Kind   `json:"type"`
	Channel string `json:"channel"`
	Run     int64  `json:"run"`
	Slice   int64  `json:"slice,omitempty"`
}

// runMessage asks for a run to be started (slice 0) or a slice to be worked
// on. A first message goes where somebody waits for it; continuing work goes
// to the tail of the common queue, which keeps channels fair to each other.
func runMessage(r Run, slice int64, continuing bool) Outgoing {
	key := keySync
	switch {
	case r.Spec.Kind == KindReverseSync:
		key = keyReverse
	case continuing:
	case r.Trigger == TriggerSchedule, r.Trigger == TriggerChange:
	default:
		key = keySyncNow
	}
	body, err := json.Marshal(message{V: 1, Type: r.Spec.Kind, Channel: r.Channel, Run: r.ID, Slice: slice})
	if err != nil { // strings and numbers always encode
		panic(err)
	}
	return Outgoing{Key: key, Body: body}
}
