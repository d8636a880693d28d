package rabbit

import (
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tandem-sync/tandem/messages"
)

type nobody struct{}

func (nobody) Ack(uint64, bool) error        { return nil }
func (nobody) Nack(uint64, bool, bool) error { return nil }
func (nobody) Reject(uint64, bool) error     { return nil }

func TestUnmarshalTakesAnyHeader(t *testing.T) {
	t.Parallel()
	m, err := marshaler{}.Unmarshal(amqp.Delivery{Acknowledger: nobody{}, MessageId: "m", Body: []byte("b"), Headers: amqp.Table{
		"text": "t", "bytes": []byte("b"), "binary": []byte{0xff}, "number": int32(-7), "flag": true, "nothing": nil,
		"x-delivery-count": int64(2), "x-death": []any{amqp.Table{"count": int64(1)}}, "when": time.Unix(0, 0),
		"_watermill_amqp_redelivered": "true", "price": amqp.Decimal{Scale: 2, Value: 199},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := message.Metadata{"text": "t", "bytes": "b", "number": "-7", "flag": "true", "x-delivery-count": "2"}
	if m.UUID != "m" || string(m.Payload) != "b" || len(m.Metadata) != len(want) {
		t.Errorf("got %q %q %v", m.UUID, m.Payload, m.Metadata)
	}
	for k, v := range want {
		if m.Metadata[k] != v {
			t.Errorf("metadata %s is %q, want %q", k, m.Metadata[k], v)
		}
	}
	if !redelivered(m) {
		t.Error("x-delivery-count 2 is not a redelivery")
	}
}

func TestUnmarshalWithoutAnything(t *testing.T) {
	t.Parallel()
	m, err := marshaler{}.Unmarshal(amqp.Delivery{Acknowledger: nobody{}})
	if err != nil || m.UUID == "" || redelivered(m) {
		t.Errorf("got %+v, %v", m, err)
	}
}

func TestUnmarshalRefusesGhosts(t *testing.T) {
	t.Parallel()
	if _, err := (marshaler{}).Unmarshal(amqp.Delivery{}); !errors.Is(err, errGhost) {
		t.Errorf("got %v", err)
	}
}

func TestMarshal(t *testing.T) {
	t.Parallel()
	m := message.NewMessage("id", []byte("body"))
	m.Metadata.Set("k", "v")
	p, err := marshaler{}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if p.MessageId != "id" || p.DeliveryMode != amqp.Persistent || p.ContentType != "application/json" ||
		p.Headers["k"] != "v" || string(p.Body) != "body" {
		t.Errorf("got %+v", p)
	}
	if publishing(messages.Message{}).MessageId == "" {
		t.Error("a message without an id stays without")
	}
}
