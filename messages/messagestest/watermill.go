package messagestest

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
)

// Watermill runs the tests of watermill's Pub/Sub suite that apply to a work
// queue. They are called one by one, because the suite's own entry skips those
// that do not apply: consumer groups, replay of old messages, and the restart
// of a broker from within the process.
//
// persistent says that open gives access to the same queues each time, so that
// messages outlive the subscriber that did not take them.
func Watermill(t *testing.T, persistent bool, open tests.PubSubConstructor) {
	features := tests.Features{
		// With one subscription at a time both brokers keep the order.
		GuaranteedOrder: true, GuaranteedOrderWithSingleSubscriber: true,
		Persistent:            persistent,
		RequireSingleInstance: !persistent,
		ForceShort:            true, // the long form only repeats more often
	}
	type test struct {
		name string
		run  func(*testing.T, tests.TestContext, tests.PubSubConstructor)
	}
	all := []test{
		{"PublishSubscribe", tests.TestPublishSubscribe},
		{"ConcurrentSubscribe", tests.TestConcurrentSubscribe},
		{"ConcurrentSubscribeMultipleTopics", tests.TestConcurrentSubscribeMultipleTopics},
		{"ResendOnError", tests.TestResendOnError},
		{"NoAck", tests.TestNoAck},
		{"PublishSubscribeInOrder", tests.TestPublishSubscribeInOrder},
		{"PublisherClose", tests.TestPublisherClose},
		{"Topic", tests.TestTopic},
		{"MessageCtx", tests.TestMessageCtx},
		{"SubscribeCtx", tests.TestSubscribeCtx},
	}
	if persistent {
		all = append(all,
			// Non-persistent, it leaves a subscription open that nobody reads, which
			// on a work queue holds one message.
			test{"ContinueAfterErrors", tests.TestContinueAfterErrors},
			test{"ContinueAfterSubscribeClose", tests.TestContinueAfterSubscribeClose},
			test{"ConcurrentClose", tests.TestConcurrentClose})
	}
	for _, tc := range all {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.run(t, tests.TestContext{TestID: tests.NewTestID(), Features: features}, open)
		})
	}
}
