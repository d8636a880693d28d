package config

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
	"github.com/tandem-sync/tandem/transport"
)

// File is a configuration: what tandem.yaml and the TANDEM_ variables say, with
// the defaults filled in.
type File struct {
	Path      string // "" when there is no file
	Database  string // "sqlite:path" or "postgres://…"
	Broker    string // "embedded", "amqp://…" or "amqps://…"
	Listen    string // host:port of the HTTP server
	SecretKey string // 32 bytes in base64; "" none
	// APIToken is TANDEM_API_TOKEN, which has no key in the file; "" none.
	APIToken string
	// SecretKeyNew is TANDEM_SECRET_KEY_NEW, which has no key in the file either:
	// the key that secrets are to be sealed with after a rotation; "" none.
	SecretKeyNew string
	// Notify is TANDEM_NOTIFY=on, which has no key in the file either: PostgreSQL
	// notifies of captured changes. Notifies is what the variable says.
	Notify   bool
	Notifies string
	Network  Network
	Workers  Workers
	Entities []Entity
	Channels []Channel

	places
}

// places knows where in the file a field stands and what must not be quoted.
// The zero value knows nothing, as for a File that was not read from a text.
type places struct {
	at      map[string]place
	faulty  map[string]bool // fields with a problem already
	secrets []string        // texts that no message may hold
	hidden  map[string]bool // the same, to keep each once
}

// place is a position in the file or the name of a variable.
type place struct {
	line, column int
	variable     string
}

// Network says which addresses Tandem may dial.
type Network struct {
	// Allow lists the prefixes in which private and reserved addresses may be
	// dialled.
	Allow []netip.Prefix
	// AllowPlaintext permits http:// to public addresses.
	AllowPlaintext bool
}

// Workers says how much is done at a time.
type Workers struct {
	Sync        int           // slots of this process for sync work
	ReverseSync int           // slots for reverse sync work
	Lease       time.Duration // how long a silent worker keeps its work
}

// Entity is a local table that is kept in step.
type Entity struct {
	Name     string
	Table    string   // may be schema.table
	Key      []string // columns, at least one
	Modified string   // column of the last change; "" none
	Deleted  string   // column that marks a deleted row; "" rows are removed
	Capture  string   // "none", "triggers", "modified" or "api"
	Create   []ColumnDecl
}

// CaptureNone says that local changes of an entity are not noticed.
const CaptureNone = "none"

// DefaultCapture is how an entity's local changes are noticed when its capture is
// left out: by triggers where a connector of one of the channels writes them to a
// remote, else not at all.
func DefaultCapture(entity string, chs []Channel) string {
	for i := range chs {
		for k := range chs[i].Connectors {
			if c := &chs[i].Connectors[k]; c.Entity == entity && c.Writes() {
				return "triggers"
			}
		}
	}
	return CaptureNone
}

// ColumnDecl declares a column of a table that Tandem makes when it is missing.
type ColumnDecl struct {
	Name string
	Type string // as SQL has it: "text not null"
}

// Channel is one configured instance of a channel type.
type Channel struct {
	Name       string
	Type       string
	Transport  json.RawMessage // the transport mapping with variables filled in; nil none
	Schedule   string          // cron, "@every …" or "off"; "" every 5 minutes
	Conflict   string          // policy; never ""
	Connectors []Connector
	Operations json.RawMessage // nil none
}

// Connector connects one remote object type with one entity.
type Connector struct {
	Name         string
	Entity       string
	Direction    string // "to_local", "to_remote" or "both"
	Create       string // "to_local", "to_remote", "both" or "none"
	Match        [][]string
	Scope        Scope
	SetLocal     map[string]record.Value
	SetRemote    map[string]record.Value
	DeleteLocal  string // "ignore", "unlink" or "delete"
	DeleteRemote string
	Overlap      time.Duration
	Full         string // schedule of complete runs, or "off"
	Limit        int    // records per step and run; 0 none
	Mapping      []mapping.Field
	Remote       json.RawMessage // the remote mapping; nil none
}

// Scope says by expressions which records belong to the connector.
type Scope struct{ Local, Remote string }

// Defaults of the file.
const (
	DefaultPath     = "tandem.yaml"
	DefaultDatabase = "sqlite:tandem.db"
	DefaultBroker   = "embedded"
	DefaultListen   = "127.0.0.1:8080"
	DefaultConflict = "newest"
	DefaultFull     = "@daily"
	DefaultOverlap  = 5 * time.Minute
	DefaultLease    = 60 * time.Second
	DefaultSlots    = 4
	// ScheduleOff says that nothing starts by itself.
	ScheduleOff = "off"
)

// Default is the configuration of an empty file.
func Default() *File {
	return &File{
		Database: DefaultDatabase, Broker: DefaultBroker, Listen: DefaultListen,
		Workers: Workers{Sync: DefaultSlots, ReverseSync: DefaultSlots, Lease: DefaultLease},
	}
}

// Guard gives the network rules in the form that transports take.
func (f *File) Guard() transport.Guard {
	return transport.Guard{Allow: f.Network.Allow, AllowPlaintext: f.Network.AllowPlaintext}
}

// Settings gives the channel's settings as its type takes them. network is the
// deployment's transport.Guard.
func (c *Channel) Settings(network any) channels.Settings {
	s := channels.Settings{Channel: c.Name, Transport: c.Transport, Network: network, Operations: c.Operations}
	for i := range c.Connectors {
		k := &c.Connectors[i]
		s.Connectors = append(s.Connectors, channels.ConnectorSettings{Name: k.Name, Remote: k.Remote, Writes: k.writes()})
	}
	return s
}

// writes says what of the remote is written, nil for a connector that only reads.
func (c *Connector) writes() *channels.ConnectorWrites {
	if !c.Writes() {
		return nil
	}
	w := &channels.ConnectorWrites{Create: c.CreatesRemote(), Delete: c.DeleteRemote == "delete"}
	for i := range c.Mapping {
		if f := &c.Mapping[i]; f.ToRemote() {
			w.Update = w.Update || f.On != mapping.OnCreate
			w.Fields = append(w.Fields, f.Remote)
		}
	}
	if w.Create {
		w.Fields = append(w.Fields, slices.Sorted(maps.Keys(c.SetRemote))...)
	}
	return w
}

// Spec gives the connector's mapping in the form that mapping.Compile takes.
func (c *Connector) Spec() mapping.Spec {
	return mapping.Spec{
		Fields: c.Mapping, Match: c.Match, SetLocal: c.SetLocal, SetRemote: c.SetRemote,
		ScopeLocal: c.Scope.Local, ScopeRemote: c.Scope.Remote,
	}
}

// Writes reports whether the connector writes to the remote.
func (c *Connector) Writes() bool { return c.Direction == "to_remote" || c.Direction == "both" }

// CreatesRemote reports whether rows without a remote record get one.
func (c *Connector) CreatesRemote() bool { return c.Create == "to_remote" || c.Create == "both" }

// CreatesLocal reports whether remote records without a row get one.
func (c *Connector) CreatesLocal() bool { return c.Create == "to_local" || c.Create == "both" }
