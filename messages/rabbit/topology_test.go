package rabbit

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/testenv"
)

// contract is the topology as it is promised to the programs that share the
// broker with Tandem, written down once more, so that a slip in the code shows.
var (
	contractPlain = map[string]any{"x-queue-type": "quorum"}
	contractJob   = map[string]any{
		"x-queue-type": "quorum", "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "tandem.dead",
		"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish", "x-delivery-limit": float64(20),
	}
	contractQueues = map[string]map[string]any{
		"tandem.sync": contractJob, "tandem.sync.now": contractJob, "tandem.reverse-sync": contractJob,
		"tandem.dead": contractPlain, "tandem.unrouted": contractPlain,
	}
	contractExchanges = map[string]map[string]any{
		"tandem": {"alternate-exchange": "tandem.unrouted"}, "tandem.unrouted": {},
	}
	contractKinds    = map[string]string{"tandem": "topic", "tandem.unrouted": "fanout"}
	contractBindings = map[[3]string]bool{
		{"tandem", "tandem.sync", "sync"}:                 true,
		{"tandem", "tandem.sync.now", "sync.now"}:         true,
		{"tandem", "tandem.reverse-sync", "reverse-sync"}: true,
		{"tandem.unrouted", "tandem.unrouted", ""}:        true,
	}
)

func asJSON(t *testing.T, args amqp.Table) map[string]any {
	t.Helper()
	out := map[string]any{}
	b, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if out == nil {
		out = map[string]any{}
	}
	return out
}

func TestTopologyIsTheContract(t *testing.T) {
	t.Parallel()
	queues, exchanges, kinds, bindings := map[string]map[string]any{}, map[string]map[string]any{}, map[string]string{}, map[[3]string]bool{}
	for _, q := range tandem().queues {
		queues[q.name] = asJSON(t, q.args)
	}
	for _, x := range tandem().exchanges {
		exchanges[x.name], kinds[x.name] = asJSON(t, x.args), x.kind
	}
	for _, b := range tandem().bindings {
		bindings[[3]string{b.exchange, b.queue, b.key}] = true
	}
	same(t, "queues", queues, contractQueues)
	same(t, "exchanges", exchanges, contractExchanges)
	same(t, "kinds of exchanges", kinds, contractKinds)
	same(t, "bindings", bindings, contractBindings)
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\ngot  %v\nwant %v", what, got, want)
	}
}

func TestDefinitionsFileIsTheTopology(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../deploy/rabbitmq/definitions.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Vhosts    []struct{ Name string }
		Exchanges []struct {
			Name, Vhost, Type string
			Durable           bool
			AutoDelete        bool `json:"auto_delete"`
			Internal          bool
			Arguments         map[string]any
		}
		Queues []struct {
			Name, Vhost string
			Durable     bool
			AutoDelete  bool `json:"auto_delete"`
			Arguments   map[string]any
		}
		Bindings []struct {
			Source, Vhost, Destination string
			DestinationType            string `json:"destination_type"`
			Key                        string `json:"routing_key"`
			Arguments                  map[string]any
		}
	}
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.DisallowUnknownFields() // policies, users and permissions are the operator's
	if err := dec.Decode(&file); err != nil {
		t.Fatal(err)
	}
	queues, exchanges, kinds, bindings := map[string]map[string]any{}, map[string]map[string]any{}, map[string]string{}, map[[3]string]bool{}
	for _, q := range file.Queues {
		if queues[q.Name] = q.Arguments; !q.Durable || q.AutoDelete || q.Vhost != "/" {
			t.Errorf("queue %+v", q)
		}
	}
	for _, x := range file.Exchanges {
		exchanges[x.Name], kinds[x.Name] = x.Arguments, x.Type
		if !x.Durable || x.AutoDelete || x.Internal || x.Vhost != "/" {
			t.Errorf("exchange %+v", x)
		}
	}
	for _, b := range file.Bindings {
		bindings[[3]string{b.Source, b.Destination, b.Key}] = true
		if b.DestinationType != "queue" || b.Vhost != "/" || len(b.Arguments) > 0 {
			t.Errorf("binding %+v", b)
		}
	}
	same(t, "queues", queues, contractQueues)
	same(t, "exchanges", exchanges, contractExchanges)
	same(t, "kinds of exchanges", kinds, contractKinds)
	same(t, "bindings", bindings, contractBindings)
}

// TestBrokerHasExactlyTheTopology declares again what Ready declared: the
// contracted arguments are accepted, any other one is refused with 406.
func TestBrokerHasExactlyTheTopology(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	b, err := New(Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close() //nolint:errcheck // a failed close shows as a leak
	if err := b.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // likewise
	try := func(declare func(*amqp.Channel) error) error {
		t.Helper()
		ch, err := conn.Channel()
		if err != nil {
			t.Fatal(err)
		}
		defer ch.Close() //nolint:errcheck // an error has closed it
		return declare(ch)
	}
	declareQueue := func(name string, args map[string]any) error {
		table := amqp.Table{}
		for k, v := range args {
			if f, ok := v.(float64); ok {
				v = int64(f)
			}
			table[k] = v
		}
		return try(func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(name, true, false, false, false, table)
			return err
		})
	}
	refused := func(what string, err error) {
		t.Helper()
		if e, ok := err.(*amqp.Error); !ok || e.Code != amqp.PreconditionFailed { //nolint:errorlint // amqp091 returns it bare
			t.Errorf("%s: got %v, want 406", what, err)
		}
	}
	for name, args := range contractQueues {
		if err := declareQueue(name, args); err != nil {
			t.Errorf("queue %s with the contracted arguments: %v", name, err)
		}
		for arg, other := range map[string]any{
			"x-queue-type": "classic", "x-dead-letter-exchange": "amq.direct", "x-dead-letter-routing-key": "elsewhere",
			"x-overflow": "drop-head", "x-delivery-limit": float64(19), "x-max-length": float64(1), "x-message-ttl": float64(1000),
		} {
			changed := maps.Clone(args)
			changed[arg] = other
			refused(name+" with another "+arg, declareQueue(name, changed))
			if _, has := args[arg]; has && arg != "x-queue-type" {
				without := maps.Clone(args)
				delete(without, arg)
				refused(name+" without "+arg, declareQueue(name, without))
			}
		}
	}
	for name, kind := range contractKinds {
		args := amqp.Table(contractExchanges[name])
		declare := func(kind string, args amqp.Table) error {
			return try(func(ch *amqp.Channel) error { return ch.ExchangeDeclare(name, kind, true, false, false, false, args) })
		}
		if err := declare(kind, args); err != nil {
			t.Errorf("exchange %s: %v", name, err)
		}
		refused(name+" of another kind", declare("headers", args))
		refused(name+" with another alternate", declare(kind, amqp.Table{"alternate-exchange": "amq.fanout"}))
	}
}

func TestDeclareErrorNamesTheArgument(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]string{
		"PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'tandem.sync' in vhost '/': received '20' but current is '5'":                                    "argument x-delivery-limit: needed is '20', there is '5'",
		"PRECONDITION_FAILED - inequivalent arg 'x-overflow' for queue 'tandem.sync' in vhost '/': received the value 'reject-publish' of type 'longstr' but current is none": "argument x-overflow: needed is the value 'reject-publish' of type 'longstr', there is none",
		"PRECONDITION_FAILED - something newer": "PRECONDITION_FAILED - something newer",
	} {
		err := declareError("queue", "tandem.sync", &amqp.Error{Code: amqp.PreconditionFailed, Reason: reason})
		if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "queue tandem.sync") {
			t.Errorf("got %q, want %q", err, want)
		}
		if fault.Of(err) != fault.Permanent || fault.CodeOf(err) != fault.CodeConfig || fault.HintOf(err) == "" {
			t.Errorf("class %v, code %q, hint %q", fault.Of(err), fault.CodeOf(err), fault.HintOf(err))
		}
	}
	err := declareError("queue", "tandem.sync", &amqp.Error{Code: amqp.AccessRefused, Reason: "ACCESS_REFUSED"})
	if fault.CodeOf(err) != fault.CodeConfig || !strings.Contains(fault.HintOf(err), "permissions") {
		t.Errorf("got %v, hint %q", err, fault.HintOf(err))
	}
	if declareError("queue", "x", nil) != nil {
		t.Error("nil is an error")
	}
}
