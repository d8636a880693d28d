// Package channels says what can be connected: the contract of a channel type,
// of its connectors and readers, and the registry of types.
package channels

import (
	"context"
	"encoding/json"
	"time"

	"github.com/tandem-sync/tandem/sync/record"
	"github.com/tandem-sync/tandem/transport"
)

// Cursor is a reader's position: opaque JSON that only the reader that made it
// understands. nil means from the beginning. At most 2 KiB.
type Cursor = json.RawMessage

// Type is a channel type: a kind of application that can be connected. It does
// no network work itself.
type Type interface {
	// Info describes the type.
	Info() Info
	// Check validates a channel's settings without any network and returns all
	// problems at once; Problem.Field is a path below the channel
	// ("transport.base_url", "connectors[0].remote.list.path").
	Check(s Settings) []Problem
	// Open makes the channel ready to talk. It does not call the remote.
	Open(ctx context.Context, s Settings) (Channel, error)
}

// Info is a type's description as `tandem types show` prints it.
type Info struct {
	Name         string          `json:"name"`  // "rest": lower case, stable
	Label        string          `json:"label"` // "Any REST API"
	Icon         string          `json:"icon"`  // a short symbol name
	Summary      string          `json:"summary"`
	Schema       json.RawMessage `json:"schema"`     // JSON Schema of the settings below a channel
	Connectors   []ConnectorInfo `json:"connectors"` // fixed connectors; empty when the configuration names them
	Operations   []string        `json:"operations"`
	Capabilities []string        `json:"capabilities"`  // "read", "incremental", "get", "tombstones", ...
	CreateSafety string          `json:"create_safety"` // class A to D; "" while the type only reads
}

// ConnectorInfo describes one connector a type has by itself.
type ConnectorInfo struct {
	Name  string `json:"name"`
	Label string `json:"label"`
	Order int    `json:"order"`
}

// Problem is one fault of a channel's settings.
type Problem struct {
	Field   string // path below the channel
	Message string
	Fix     string
}

// Settings are a channel's settings as its type needs them: transport and, per
// connector, the part the type owns. Secrets are in clear here and nowhere else.
type Settings struct {
	Channel    string              // the channel's name, for errors and logs
	Transport  json.RawMessage     // the `transport:` mapping as JSON
	Connectors []ConnectorSettings // in file order
	Network    any                 // the deployment's network guard; a transport.Guard
	Operations json.RawMessage     // the `operations:` list as JSON; nil none
	// Tokens keeps the channel's OAuth2 token for all processes; nil where it is
	// opened for itself alone.
	Tokens transport.TokenStore
	// Breaker is told when the channel's circuit breaker opens or closes; nil
	// nobody is.
	Breaker func(context.Context, transport.BreakerChange)
}

// ConnectorSettings is the part of a connector that its type owns.
type ConnectorSettings struct {
	Name   string
	Remote json.RawMessage // the `remote:` mapping as JSON; nil for types without it
	// Writes is what is written through the connector; nil: it only reads. It
	// changes nothing of what an opened connector does: Check holds it against
	// what the settings make possible.
	Writes *ConnectorWrites
}

// ConnectorWrites is what is written through a connector.
type ConnectorWrites struct {
	Create, Update, Delete bool
	// Fields are the remote paths that are written, constants of creates among
	// them.
	Fields []string
}

// Channel is an opened channel.
type Channel interface {
	// Ping makes one authenticated call and says what is wrong.
	Ping(ctx context.Context) error
	// Connector gives the named connector; an unknown name is an error with
	// code not_found.
	Connector(name string) (Connector, error)
	// Close frees connections. It waits for nothing.
	Close() error
}

// Connector reads one remote object type.
type Connector interface {
	// Reader opens a listing at req.From. It makes no call yet.
	Reader(ctx context.Context, req ReadRequest) (Reader, error)
	// Capabilities says what this connector can do as it is configured.
	Capabilities() Capabilities
}

// Capabilities is what a configured connector can do.
type Capabilities struct {
	// Incremental: the listing can be limited to what changed since a time.
	Incremental bool `json:"incremental"`
	// Tombstones: the reader reports deletions by itself (Deleted records).
	Tombstones bool `json:"tombstones"`
	// Enumerates: a listing from the beginning to its end names every record,
	// so absence can be taken as a hint of deletion.
	Enumerates bool `json:"enumerates"`
	// Drifts: the listing pages by number or offset, so a change while it runs
	// can hide records; such a listing is checked and repeated once.
	Drifts bool `json:"drifts"`
}

// ReadRequest says what to list.
type ReadRequest struct {
	// Fields are the remote paths to decode, in the order of Record.Values.
	Fields []string
	// From is where to go on; nil starts at the beginning.
	From Cursor
	// Since limits the listing to records changed at or after it; zero lists all.
	Since time.Time
	// Until drops records whose Modified is at or after it; zero keeps all.
	Until time.Time
	// Params are the `--param k=v` of the request.
	Params map[string]string
}

// Reader reads a listing page by page. It is used by one goroutine at a time.
type Reader interface {
	// ReadPage gives the next page, or io.EOF after the last one. The page's
	// memory belongs to the caller. An error leaves the reader where it was:
	// calling again repeats the page.
	ReadPage(ctx context.Context) (Page, error)
	// Close ends the listing.
	Close() error
}

// Page is one page of a listing.
type Page struct {
	Records []record.Record
	// Next is the position after this page: a reader opened there gives the
	// page that follows.
	Next Cursor
	// Total is how many records the remote says the listing has; -1 unknown.
	Total int64
	// Bytes is the size of the answer in bytes.
	Bytes int
	// RemoteNow is the remote's clock (its Date header) when it answered; zero
	// unknown.
	RemoteNow time.Time
	// FetchStarted is our clock just before the request was sent.
	FetchStarted time.Time
	// Listed says that the listing proper has ended and what follows are
	// tombstones.
	Listed bool
}

// Getter is implemented by connectors that can read records by id.
type Getter interface {
	// Get reads the given records, in any order. A record the remote answers
	// 404 or 410 for comes back with Deleted set; any other failure of one id
	// is its Record.Err, a failure of the remote as a whole is the error.
	Get(ctx context.Context, fields []string, ids []string) ([]record.Record, error)
}

// Stage is one step of reaching a remote, as `tandem channels test` shows it.
type Stage struct {
	Name    string // "name", "connect", "tls"
	Message string // what was found, when Err is nil
	Err     error
}

// Stager is implemented by channels that can say which step of reaching the
// remote fails. Stages stops after the first failure.
type Stager interface {
	Stages(ctx context.Context) []Stage
}
