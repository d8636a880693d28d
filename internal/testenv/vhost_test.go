package testenv

import "testing"

// On a broker without a usable management API the given virtual host itself is
// handed out, and Tandem's queues do not outlive the test.
func TestABrokerWeCannotManageIsEmptied(t *testing.T) {
	url := RabbitMQ(t)
	t.Setenv(EnvDir, t.TempDir())
	t.Setenv(EnvAMQP, url)
	t.Setenv(EnvManagement, "http://u:p@127.0.0.1:1")
	count := func() int {
		conn, err := dialAMQP(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // the test is about queues
		ch, err := conn.Channel()
		if err != nil {
			t.Fatal(err)
		}
		q, err := ch.QueueDeclarePassive("tandem.sync", true, false, false, false, nil)
		if missing(err) {
			return -1
		}
		if err != nil {
			t.Fatal(err)
		}
		return q.Messages
	}
	t.Run("leaves a queue", func(t *testing.T) {
		if got := RabbitMQ(t); got != url {
			t.Fatalf("got %s, want %s", got, url)
		}
		conn, err := dialAMQP(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // the test is about queues
		ch, err := conn.Channel()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ch.QueueDeclare("tandem.sync", true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		if count() != 0 {
			t.Fatal("the queue was not declared")
		}
	})
	if count() != -1 {
		t.Fatal("tandem.sync outlived its test")
	}
}
