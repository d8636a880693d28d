// Package messages is what Tandem's processes say to each other through a
// broker, and the seam behind which a broker stands.
//
// A message is a hint: it names work by ids and carries no data. The database
// holds the truth, so a message may be lost, doubled or late without harm.
// [Decode] reads what came from a queue, [Job.Encode] writes what goes out;
// [Broker] is implemented by messages/rabbit (a fleet on RabbitMQ) and
// messages/embedded (one process).
package messages

import "embed"

// The routing keys of the exchange.
const (
	KeySync    = "sync"         // scheduled and continuing work
	KeySyncNow = "sync.now"     // somebody is waiting for it
	KeyReverse = "reverse-sync" // local changes on their way out
)

// The names a broker knows.
const (
	Exchange      = "tandem"              // topic exchange every job is published to
	QueueSync     = "tandem.sync"         // bound to KeySync
	QueueSyncNow  = "tandem.sync.now"     // bound to KeySyncNow
	QueueReverse  = "tandem.reverse-sync" // bound to KeyReverse
	QueueDead     = "tandem.dead"         // copies of what could not be used; never consumed by Tandem
	QueueUnrouted = "tandem.unrouted"     // what no queue was bound for; also the name of its fanout exchange
)

// HeaderReason is the header of a message in QueueDead that says why it is
// there: one of the Reason constants.
const HeaderReason = "tandem-reason"

// Schemas holds the JSON Schema (2020-12) of both messages: schema/sync.json
// and schema/reverse-sync.json.
//
//go:embed schema/*.json
var Schemas embed.FS

// QueueOf gives the queue a routing key leads to; false when none does.
func QueueOf(key string) (string, bool) {
	switch key {
	case KeySync:
		return QueueSync, true
	case KeySyncNow:
		return QueueSyncNow, true
	case KeyReverse:
		return QueueReverse, true
	}
	return "", false
}
