// Package explain tells everything that is known about one record of a connector:
// its link, both sides as they are now, who won each field and why, and what
// still waits. It reads only.
package explain

import (
	"encoding/json"
	"time"

	"github.com/tandem-sync/tandem/store"
)

// Query names a record by one of its ids.
type Query struct{ LocalID, RemoteID string }

// Record is what is known about a record.
type Record struct {
	Channel   string    `json:"channel"`
	Connector string    `json:"connector"`
	LocalID   string    `json:"local_id" doc:"Key of the local row; empty while there is none"`
	RemoteID  string    `json:"remote_id" doc:"Id of the remote record; empty while there is none"`
	Link      *Link     `json:"link" doc:"What holds the two together; null when they are not linked"`
	Local     Side      `json:"local" doc:"The local row now"`
	Remote    Side      `json:"remote" doc:"The remote record now"`
	Fields    []Field   `json:"fields" doc:"The mapped fields in the order of the mapping"`
	Problem   string    `json:"problem,omitempty" doc:"Why a value cannot be read under the present mapping"`
	Waits     *Waits    `json:"waits" doc:"That the row waits to go out; null when it does not"`
	Create    *Create   `json:"create" doc:"A create at the remote that is under way or whose outcome is not known; null none"`
	Conflicts []Dispute `json:"conflicts" doc:"Fields that wait for a person"`
	Parked    []Held    `json:"parked" doc:"What is parked about the record"`
	History   []Line    `json:"history" doc:"What runs did to it, the latest first, as far as runs are kept"`
}

// Link is the pair as it is stored.
type Link struct {
	State     string          `json:"state" enum:"linked,remote_deleted,local_deleted,unlinked"`
	LocalID   string          `json:"local_id"`
	RemoteID  string          `json:"remote_id"`
	Aliases   []string        `json:"aliases" doc:"Former ids of the remote record, the latest first"`
	Version   string          `json:"version,omitempty" doc:"The remote's own of the record"`
	Customs   json.RawMessage `json:"customs,omitempty" doc:"What the remote side keeps about the link"`
	ReadAt    *time.Time      `json:"read_at" doc:"When it was last written from a read; null never"`
	WrittenAt *time.Time      `json:"written_at" doc:"When it was last exported; null never"`
}

// Side is one side of the pair now.
type Side struct {
	Exists   bool       `json:"exists"`
	Modified *time.Time `json:"modified" doc:"When it changed last, as far as it says; null unknown"`
	Problem  string     `json:"problem,omitempty" doc:"Why it cannot be told; what else is known stands all the same"`
}

// Field is one mapped field. A value that is left out is absent: the side said
// nothing about it.
type Field struct {
	Local     string `json:"local" doc:"The local column"`
	Remote    string `json:"remote" doc:"The remote field"`
	Direction string `json:"direction" enum:"to_local,to_remote,both"`

	LocalValue  json.RawMessage `json:"local_value,omitempty" doc:"What the row holds now; left out: unknown"`
	RemoteValue json.RawMessage `json:"remote_value,omitempty" doc:"What the remote holds now; left out: unknown"`
	BaseLocal   json.RawMessage `json:"base_local,omitempty" doc:"The value last settled locally; left out: none"`
	BaseRemote  json.RawMessage `json:"base_remote,omitempty" doc:"The value last settled at the remote; left out: none"`

	Now  *Verdict `json:"now" doc:"What would be decided now; null when a side cannot be told"`
	Last *Last    `json:"last" doc:"The latest decision that is kept; null none"`
	// Conflict is the open conflict about the field.
	Conflict *int64 `json:"conflict" doc:"Id of the open conflict about it; null none"`
}

// Verdict is what would be decided of a field now.
type Verdict struct {
	Winner string `json:"winner" enum:"none,local,remote,unresolved"`
	Reason string `json:"reason" doc:"A word of docs/conflicts.md"`
	Writes string `json:"writes" enum:",local,remote" doc:"The side that would be written; empty neither"`
}

// Last is the latest decision about a field.
type Last struct {
	Winner string          `json:"winner"`
	Reason string          `json:"reason"`
	Side   string          `json:"side" enum:"local,remote" doc:"The side that was written"`
	Old    json.RawMessage `json:"old"`
	New    json.RawMessage `json:"new"`
	At     *time.Time      `json:"at"`
	Run    int64           `json:"run"`
}

// Waits says that a local row waits to go out.
type Waits struct {
	Since     time.Time `json:"since"`
	Next      time.Time `json:"next" doc:"It is due from then on"`
	Reason    string    `json:"reason" doc:"Why it was marked or put off; empty: it was changed"`
	Attempts  int       `json:"attempts"`
	Exporting bool      `json:"exporting" doc:"It is being exported right now"`
}

// Create is a create at the remote that is not settled.
type Create struct {
	State    string    `json:"state" enum:"open,unknown"`
	Since    time.Time `json:"since"`
	Next     time.Time `json:"next" doc:"What became of it is looked up from then on"`
	Attempts int       `json:"attempts"`
}

// Dispute is a field that waits for a person.
type Dispute struct {
	ID     int64           `json:"id"`
	Field  string          `json:"field"`
	Local  json.RawMessage `json:"local"`
	Remote json.RawMessage `json:"remote"`
	Since  time.Time       `json:"since"`
	Run    int64           `json:"run"`
}

// Held is a parked item about the record.
type Held struct {
	ID      int64            `json:"id"`
	Kind    store.ParkedKind `json:"kind"`
	Reason  string           `json:"reason"`
	Message string           `json:"message"`
	Outward bool             `json:"outward" doc:"It is about the way to the remote"`
	Since   time.Time        `json:"since"`
}

// Line is what a run did to the record.
type Line struct {
	Run    int64               `json:"run"`
	At     *time.Time          `json:"at"`
	Side   string              `json:"side"`
	Op     string              `json:"op"`
	Fields []store.FieldChange `json:"fields"`
}
