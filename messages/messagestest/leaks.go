package messagestest

import "go.uber.org/goleak"

// WatermillLeaks are the goroutines that watermill's Pub/Sub suite leaves behind:
// its multiplier of subscriptions hands messages to a test that has ended and no
// longer takes them (internal/subscriber/multiplier.go in watermill 1.5.1).
func WatermillLeaks() []goleak.Option {
	const subscribe = "github.com/ThreeDotsLabs/watermill/internal/subscriber.(*multiplier).Subscribe"
	return []goleak.Option{goleak.IgnoreAnyFunction(subscribe + ".func2"), goleak.IgnoreAnyFunction(subscribe + ".func3")}
}
