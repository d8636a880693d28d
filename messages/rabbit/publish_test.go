package rabbit_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/messages/rabbit"
)

func job(body string) messages.Message {
	return messages.Message{Key: messages.KeySync, Body: []byte(body)}
}

// TestUnroutable: a broker confirms a message that no queue took; only its
// return tells. The next publish finds the topology declared again.
func TestUnroutable(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	b := opened(t, rabbit.Config{URL: url})
	check(t, b.Ready(t.Context()))
	ch := dial(t, url)
	for queue, publish := range map[string]func() error{
		messages.QueueUnrouted: func() error {
			return b.Publish(t.Context(), job("routed"), messages.Message{Key: "nowhere", Body: []byte("x")}, job("routed"))
		},
		messages.QueueDead: func() error { return b.PublishDead(t.Context(), []byte("x"), messages.ReasonMalformed) },
	} {
		_, err := ch.QueueDelete(queue, false, false, false)
		check(t, err)
		if err := publish(); fault.CodeOf(err) != rabbit.CodeUnroutable || fault.Of(err) != fault.Retryable {
			t.Errorf("without %s: got %v, want code %s", queue, err, rabbit.CodeUnroutable)
		}
		check(t, publish())
		if got := letters(t, url, queue); len(got) != 1 {
			t.Errorf("%d messages in %s", len(got), queue)
		}
	}
}

// TestExchangeDeleted: the broker closes the channel, the publisher heals.
func TestExchangeDeleted(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	b := opened(t, rabbit.Config{URL: url})
	check(t, b.Ready(t.Context()))
	check(t, dial(t, url).ExchangeDelete(messages.Exchange, false, false))
	err := b.Publish(t.Context(), job("lost"))
	if fault.Of(err) != fault.Retryable || !strings.Contains(err.Error(), "no exchange 'tandem'") {
		t.Errorf("got %v, want a retryable error with the broker's words", err)
	}
	check(t, b.Publish(t.Context(), job("healed")))
	if got := letters(t, url, messages.QueueSync); len(got) != 1 || got[0].Body != "healed" {
		t.Errorf("in the queue: %v", got)
	}
}

// TestPublishThroughCuts: whatever the network does, a message that Publish
// returned nil for is in its queue.
func TestPublishThroughCuts(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	p, via := newProxy(t, url)
	b := opened(t, rabbit.Config{URL: via, ConfirmTimeout: 2 * time.Second, Window: 8})
	var mu sync.Mutex
	confirmed, failed := map[string]bool{}, 0
	quit := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-quit:
					return
				default:
				}
				var out []messages.Message
				for k := range 20 {
					out = append(out, job(fmt.Sprintf("%d/%d/%d", w, i, k)))
				}
				err := b.Publish(t.Context(), out...)
				mu.Lock()
				if err == nil {
					for _, m := range out {
						confirmed[string(m.Body)] = true
					}
				} else if failed++; fault.Of(err) != fault.Retryable {
					t.Errorf("a cut connection gave %v", err)
				}
				mu.Unlock()
			}
		})
	}
	for range 8 {
		time.Sleep(60 * time.Millisecond)
		p.cut()
	}
	p.down()
	time.Sleep(100 * time.Millisecond)
	p.up()
	time.Sleep(200 * time.Millisecond)
	close(quit)
	writers.Wait()
	check(t, b.Publish(t.Context(), job("the end")))
	there := map[string]bool{}
	for _, l := range letters(t, url, messages.QueueSync) {
		there[l.Body] = true
	}
	lost := 0
	for body := range confirmed {
		if !there[body] {
			lost++
		}
	}
	if lost > 0 || !there["the end"] {
		t.Errorf("%d of %d confirmed messages are lost", lost, len(confirmed))
	}
	if failed == 0 || len(confirmed) == 0 {
		t.Errorf("%d failures and %d confirms: the test tested nothing", failed, len(confirmed))
	}
	t.Logf("%d confirmed, %d calls failed, %d connections", len(confirmed), failed, p.accepted())
}

// TestSilentNetwork: Publish returns at its deadline although no byte comes
// back, while confirming and while connecting, and works again afterwards.
func TestSilentNetwork(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	p, via := newProxy(t, url)
	b := opened(t, rabbit.Config{URL: via, ConfirmTimeout: 400 * time.Millisecond})
	until(t, "a connection", func() bool { return b.Ready(t.Context()) == nil }) // a busy machine takes longer
	p.stall()
	for _, phase := range []string{"confirming", "connecting"} {
		began := time.Now()
		err := b.Publish(t.Context(), job(phase))
		if took := time.Since(began); took > 20*time.Second || fault.Of(err) != fault.Retryable {
			t.Errorf("%s: %v after %v", phase, err, took)
		}
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := b.Publish(ctx, job("x")); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 20*time.Second {
		t.Errorf("the caller's deadline: %v after %v", err, time.Since(began))
	}
	p.resume()
	until(t, "publishing to work again", func() bool { return b.Publish(t.Context(), job("healed")) == nil })
}

// TestHugeWrite: a broker that stops reading must not hold the writer.
func TestHugeWrite(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	p, via := newProxy(t, url)
	b := opened(t, rabbit.Config{URL: via, ConfirmTimeout: 500 * time.Millisecond})
	until(t, "a connection", func() bool { return b.Ready(t.Context()) == nil }) // a busy machine takes longer
	p.stall()
	began := time.Now()
	err := b.Publish(t.Context(), job(strings.Repeat("x", 32<<20))) // more than the sockets hold
	if took := time.Since(began); took > 20*time.Second || fault.Of(err) != fault.Retryable {
		t.Errorf("%v after %v", err, took)
	}
	p.resume()
	until(t, "publishing to work again", func() bool { return b.Publish(t.Context(), job("healed")) == nil })
}

// TestWindowIsShared: more messages than the window holds, from many callers.
func TestWindowIsShared(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	b := opened(t, rabbit.Config{URL: url, Window: 3})
	const callers, each = 10, 50
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			var out []messages.Message
			for i := range each {
				out = append(out, job(fmt.Sprintf("%d/%d", c, i)))
			}
			if err := b.Publish(t.Context(), out...); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := letters(t, url, messages.QueueSync); len(got) != callers*each {
		t.Errorf("%d messages, want %d", len(got), callers*each)
	}
}
