package rabbit_test

import (
	"context"
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/messages/rabbit"
)

// BenchmarkPublish compares our publisher with what can be written by hand on
// amqp091: confirms in a window, which is the ceiling, and one confirm at a
// time, which is what watermill-amqp's publisher does. Messages have 120 bytes
// and go to a quorum queue; compare msg/s, since an operation is a call.
//
//	go test -run '^$' -bench Publish -count 5 ./messages/rabbit
func BenchmarkPublish(b *testing.B) {
	body := make([]byte, 120)
	for _, call := range []int{1000, 100, 1} {
		b.Run(fmt.Sprintf("tandem/call=%d", call), func(b *testing.B) {
			broker := opened(b, rabbit.Config{URL: testenv.RabbitMQ(b)})
			check(b, broker.Ready(b.Context()))
			out := make([]messages.Message, call)
			for i := range out {
				out[i] = messages.Message{Key: messages.KeySync, Body: body}
			}
			b.ReportAllocs()
			for b.Loop() {
				check(b, broker.Publish(b.Context(), out...))
			}
			b.ReportMetric(float64(b.N)*float64(call)/b.Elapsed().Seconds(), "msg/s")
		})
	}
	for _, window := range []int{256, 1} {
		b.Run(fmt.Sprintf("amqp091/window=%d", window), func(b *testing.B) {
			url := testenv.RabbitMQ(b)
			check(b, opened(b, rabbit.Config{URL: url}).Ready(b.Context()))
			ch := dial(b, url)
			check(b, ch.Confirm(false))
			var wait []*amqp.DeferredConfirmation
			settle := func() {
				ok, err := wait[0].WaitContext(context.Background())
				check(b, err)
				if !ok {
					b.Fatal("refused")
				}
				wait = wait[1:]
			}
			b.ReportAllocs()
			for b.Loop() {
				if len(wait) == window {
					settle()
				}
				c, err := ch.PublishWithDeferredConfirm(messages.Exchange, messages.KeySync, true, false,
					amqp.Publishing{Body: body, DeliveryMode: amqp.Persistent})
				check(b, err)
				wait = append(wait, c)
			}
			for len(wait) > 0 {
				settle()
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
