package messages

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tandem-sync/tandem/fault"
)

// Version is the version of the message format this package speaks.
const Version = 1

// MaxBody is the size limit of a message body in bytes.
const MaxBody = 4 << 10

// The types of a job.
const (
	TypeSync        = "sync"
	TypeReverseSync = "reverse-sync"
)

// The modes of a job; an empty mode leaves the choice to the worker.
const (
	ModeIncremental = "incremental"
	ModeFull        = "full"
)

// The flags of a job.
const (
	FlagDryRun = "dry_run"
	FlagForce  = "force"
	FlagNoPush = "no_push"
	FlagNoPull = "no_pull"
)

// Job is the content of a message: what to do, in ids only.
type Job struct {
	V          int               // Version; 0 is encoded as Version
	Type       string            // TypeSync or TypeReverseSync
	ID         string            // the sender's id: at most one run per id; empty for none
	Channel    string            // name of the channel
	Connectors []string          // names; none means all
	Mode       string            // ModeIncremental, ModeFull or empty
	Start, End *time.Time        // window [Start, End) in UTC; nil is open
	RemoteIDs  []string          // only these remote records
	LocalIDs   []string          // only these local records
	Params     map[string]string // for the channel type
	Flags      []string          // of the Flag constants
	Run, Slice int64             // the run and slice this continues; 0 for a new request
}

// Has says whether the job carries the flag.
func (j Job) Has(flag string) bool {
	for _, f := range j.Flags {
		if f == flag {
			return true
		}
	}
	return false
}

// wireJob is Job as it is written; reading is stricter, see wire.
type wireJob struct {
	V          int               `json:"v"`
	Type       string            `json:"type"`
	ID         string            `json:"id,omitempty"`
	Channel    string            `json:"channel"`
	Connectors []string          `json:"connectors,omitempty"`
	Mode       string            `json:"mode,omitempty"`
	Start      string            `json:"start,omitempty"`
	End        string            `json:"end,omitempty"`
	RemoteIDs  []string          `json:"remote_ids,omitempty"`
	LocalIDs   []string          `json:"local_ids,omitempty"`
	Params     map[string]string `json:"params,omitempty"`
	Flags      []string          `json:"flags,omitempty"`
	Run        int64             `json:"run,omitzero"`
	Slice      int64             `json:"slice,omitzero"`
}

// Encode writes the job as the JSON that Decode reads. A job that Decode would
// not take, such as one of more than MaxBody bytes, is an error of class
// Permanent whose cause is a *Rejected: long id lists do not belong on a queue.
func (j Job) Encode() ([]byte, error) {
	if j.V == 0 {
		j.V = Version
	}
	w := wireJob{
		V: j.V, Type: j.Type, ID: j.ID, Channel: j.Channel, Connectors: j.Connectors, Mode: j.Mode,
		Start: writeTime(j.Start), End: writeTime(j.End), RemoteIDs: j.RemoteIDs, LocalIDs: j.LocalIDs,
		Params: j.Params, Flags: j.Flags, Run: j.Run, Slice: j.Slice,
	}
	body, err := json.Marshal(&w, json.Deterministic(true))
	if err != nil {
		return nil, fault.New(fault.Permanent, fault.CodeUsage, "messages: encode", "%w", reject(ReasonMalformed, "%v", err))
	}
	// What goes out passes the same door as what comes in. Relative times do
	// not occur in what was just written, so any now will do.
	if _, err := Decode(body, time.Time{}); err != nil {
		return nil, fault.New(fault.Permanent, fault.CodeUsage, "messages: encode", "%w", err)
	}
	return body, nil
}

func writeTime(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// The reasons for which a message is rejected; the last two are found by the
// worker, which knows the channels.
const (
	ReasonMalformed          = "malformed"
	ReasonTooLarge           = "too_large"
	ReasonUnsupportedVersion = "unsupported_version"
	ReasonUnknownType        = "unknown_type"
	ReasonUnknownChannel     = "unknown_channel"
	ReasonUnknownConnector   = "unknown_connector"
)

// Rejected is the error of a message that can never be used.
type Rejected struct {
	Reason string // one of the Reason constants
	Detail string // what is wrong, for a person
}

// Error joins reason and detail.
func (r *Rejected) Error() string { return r.Reason + ": " + r.Detail }

func reject(reason, format string, args ...any) *Rejected {
	return &Rejected{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}
