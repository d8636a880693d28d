package rabbit

import (
	"errors"
	"fmt"
	"unicode/utf8"

	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tandem-sync/tandem/messages"
)

// headerDeliveryCount is what a quorum queue adds when it delivers again.
const headerDeliveryCount = "x-delivery-count"

// errGhost: when a broker ends a consumer (its queue was deleted),
// watermill-amqp reads a delivery that never was from the closed channel. The
// error makes it subscribe again instead of calling a handler.
var errGhost = errors.New("rabbit: the broker ended the consumer")

// marshaler translates between watermill and AMQP. It takes every header a
// broker or a stranger may set; watermill-amqp's own refuses all that are not
// strings, which makes a redelivered quorum message unreadable.
type marshaler struct{}

var _ wamqp.Marshaler = marshaler{}

// Marshal makes an AMQP message of a watermill message.
func (marshaler) Marshal(m *message.Message) (amqp.Publishing, error) {
	return publishing(messages.Message{ID: m.UUID, Body: m.Payload, Headers: m.Metadata}), nil
}

// Unmarshal makes a watermill message of a delivery. Only headers with one
// plain value become metadata.
func (marshaler) Unmarshal(d amqp.Delivery) (*message.Message, error) {
	if d.Acknowledger == nil {
		return nil, errGhost
	}
	m := message.NewMessage(deliveryID(d), d.Body)
	for name, value := range d.Headers {
		if name == wamqp.DefaultMessageUUIDHeaderKey || name == wamqp.MetadataRedeliveredKey {
			continue // the latter is watermill-amqp's word to us, not the sender's
		}
		if s, ok := plain(value); ok {
			m.Metadata.Set(name, s)
		}
	}
	return m, nil
}

func deliveryID(d amqp.Delivery) string {
	if id, ok := d.Headers[wamqp.DefaultMessageUUIDHeaderKey].(string); ok && id != "" {
		return id
	}
	if d.MessageId != "" {
		return d.MessageId
	}
	return uuid.NewString()
}

func plain(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), utf8.Valid(v)
	case bool, int8, uint8, int16, uint16, int32, uint32, int64, uint64, int, float32, float64:
		return fmt.Sprint(v), true
	}
	return "", false
}

// redelivered says whether the broker delivered m before.
func redelivered(m *message.Message) bool {
	count := m.Metadata.Get(headerDeliveryCount)
	return wamqp.IsMessageRedelivered(m) || count != "" && count != "0"
}

// publishing makes an AMQP message; an empty id is replaced.
func publishing(m messages.Message) amqp.Publishing {
	if m.ID == "" {
		m.ID = uuid.NewString()
	}
	var headers amqp.Table
	if len(m.Headers) > 0 {
		headers = make(amqp.Table, len(m.Headers))
		for k, v := range m.Headers {
			headers[k] = v
		}
	}
	return amqp.Publishing{
		ContentType: "application/json", DeliveryMode: amqp.Persistent,
		MessageId: m.ID, AppId: "tandem", Headers: headers, Body: m.Body,
	}
}
