package rabbit_test

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/messages/rabbit"
)

// TestPasswordStaysSecret: amqp091 and net/url quote the URL in their errors.
func TestPasswordStaysSecret(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	good := testenv.RabbitMQ(t)
	u, err := url.Parse(good)
	check(t, err)
	with := func(change func(*url.URL)) string {
		c := *u
		c.User = url.UserPassword(u.User.Username(), secret)
		change(&c)
		return c.String()
	}
	for name, tc := range map[string]struct{ url, code string }{
		"wrong password":    {with(func(*url.URL) {}), fault.CodeConfig},
		"refused":           {with(func(u *url.URL) { u.Host = "127.0.0.1:1" }), fault.CodeUnreachable},
		"no such host":      {with(func(u *url.URL) { u.Host = "no.such.host.invalid:5671"; u.Scheme = "amqps" }), fault.CodeUnreachable},
		"TLS on plain port": {with(func(u *url.URL) { u.Scheme = "amqps" }), fault.CodeUnreachable},
		"plaintext":         {"amqp://u:" + secret + "@broker.example/", fault.CodeConfig},
		"wrong scheme":      {"http://u:" + secret + "@127.0.0.1/", fault.CodeConfig},
		"space":             {"amqp://u:" + secret + " @127.0.0.1/", fault.CodeConfig},
		"control character": {"amqp://u:" + secret + "\x7f@127.0.0.1/", fault.CodeConfig},
		"slash in password": {"amqp://u:" + secret + "/x@127.0.0.1/", fault.CodeConfig},
		"hash in password":  {"amqp://u:" + secret + "#x@127.0.0.1/", fault.CodeConfig},
		"bad port":          {"amqp://u:" + secret + "@127.0.0.1:port/", fault.CodeConfig},
		"bad escape":        {"amqp://u:" + secret + "%zz@127.0.0.1/", fault.CodeConfig},
		"bad mechanism":     {"amqp://u:" + secret + "@127.0.0.1/?auth_mechanism=" + secret, fault.CodeConfig},
		"bad heartbeat":     {"amqp://u:" + secret + "@127.0.0.1/?heartbeat=" + secret, fault.CodeConfig},
		"no host":           {"amqp:" + secret, fault.CodeConfig},
		"empty":             {"", fault.CodeConfig},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core, logs := observer.New(zapcore.DebugLevel)
			var errs []error
			b, err := rabbit.New(rabbit.Config{URL: tc.url, Logger: zap.New(core)})
			if err != nil {
				errs = append(errs, err)
			} else {
				h, _ := collect(messages.QueueSync)
				errs = make([]error, 3)
				var calls sync.WaitGroup // RabbitMQ answers a wrong password after seconds
				calls.Go(func() { errs[0] = b.Ready(t.Context()) })
				calls.Go(func() { errs[1] = b.Publish(t.Context(), job("x")) })
				calls.Go(func() { errs[2] = b.Run(t.Context(), h) })
				calls.Wait()
				check(t, b.Close())
			}
			for _, err := range errs {
				if fault.CodeOf(err) != tc.code || fault.HintOf(err) == "" {
					t.Errorf("got %v with code %q and hint %q, want code %s", err, fault.CodeOf(err), fault.HintOf(err), tc.code)
				}
				told := fmt.Sprintf("%v %+v %q %s %s", err, err, err, fault.HintOf(err), fault.WhereOf(err))
				if strings.Contains(told, secret) {
					t.Errorf("the password is in %s", told)
				}
			}
			for _, l := range logs.All() {
				if told := fmt.Sprint(l.Message, l.ContextMap()); strings.Contains(told, secret) {
					t.Errorf("the password is in the log: %s", told)
				}
			}
		})
	}
}

func TestUnknownVirtualHost(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(testenv.RabbitMQ(t))
	check(t, err)
	u.Path = "/no-such"
	b := opened(t, rabbit.Config{URL: u.String()})
	if err := b.Ready(t.Context()); fault.CodeOf(err) != fault.CodeConfig || !strings.Contains(err.Error(), "no-such") {
		t.Errorf("got %v", err)
	}
}

func TestPlaintextIsForTrustedNetworks(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"amqp://localhost/": true, "amqp://127.0.0.1:1/": true, "amqp://[::1]/": true, "amqp://[::ffff:127.0.0.1]/": true,
		"amqp://10.0.0.1/": false, "amqp://rabbitmq/": false, "amqp://localhost.example.com/": false, "amqps://10.0.0.1/": true,
	} {
		_, err := rabbit.New(rabbit.Config{URL: address})
		if (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
		if _, err := rabbit.New(rabbit.Config{URL: address, AllowPlaintext: true}); err != nil {
			t.Errorf("%s with AllowPlaintext: %v", address, err)
		}
	}
}
