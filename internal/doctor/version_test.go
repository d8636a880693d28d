package doctor

import (
	"strings"
	"testing"
)

func TestBrokerVersion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		product, version string
		status           Status
		want             string
	}{
		{"RabbitMQ", "3.8.2", Fail, "too old"},
		{"RabbitMQ", "3.10.8", OK, "given back counts as a delivery"},
		{"RabbitMQ", "3.13.7", OK, "given back counts as a delivery"},
		{"RabbitMQ", "4.0.5", OK, "20 deliveries"},
		{"RabbitMQ", "4.2.0-rc.1", OK, "20 deliveries"},
		{"RabbitMQ", "4.3.0", OK, "does not count"},
		{"RabbitMQ", "5.0.0", OK, "does not count"},
		{"RabbitMQ", "", Warn, "version"},
		{"RabbitMQ", "four", Warn, "version"},
		{"LavinMQ", "2.1.0", Warn, "not RabbitMQ"},
	} {
		got := brokerVersion(c.product, c.version)
		if got.Status != c.status || !strings.Contains(got.Message, c.want) || got.Unavailable != (c.status == Fail) || (got.Status == OK) != (got.Fix == "") {
			t.Errorf("%s %s: %+v", c.product, c.version, got)
		}
	}
}
