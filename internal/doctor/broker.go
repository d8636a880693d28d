package doctor

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/messages/rabbit"
)

func (d *doctor) broker(ctx context.Context) {
	if d.cfg.File.Broker == embedded {
		d.say(Check{Area: AreaBroker, Check: "reachable", Status: OK, Message: "the queue is inside the process: there is nothing to reach"})
		return
	}
	r, err := rabbit.Examine(ctx, rabbit.Config{URL: d.cfg.File.Broker, AllowPlaintext: d.cfg.File.Network.AllowPlaintext})
	if err != nil {
		d.say(failed(AreaBroker, r.Where, "reachable", err))
		return
	}
	d.say(Check{Area: AreaBroker, Subject: r.Where, Check: "reachable", Status: OK, Message: "the broker lets us in"})
	c := brokerVersion(r.Product, r.Version)
	c.Area, c.Subject, c.Check = AreaBroker, r.Where, "version"
	d.say(c)
	d.say(Check{
		Area: AreaBroker, Subject: r.Where, Check: "consumer timeout", Status: OK,
		Message: "a delivery is held for a minute at most; the broker must not take it back earlier (consumer_timeout, 30 minutes by default)",
	})
	missing := []string{}
	for _, x := range r.Exchanges {
		missing = d.found(r.Where, "exchange", x, missing)
	}
	for _, q := range r.Queues {
		missing = d.found(r.Where, "queue", q, missing)
	}
	if len(missing) > 0 {
		d.say(Check{
			Area: AreaBroker, Subject: r.Where, Check: "topology", Status: Warn, Message: "not there yet: " + strings.Join(missing, ", "),
			Fix: "`tandem run` declares them when it starts; or import deploy/rabbitmq/definitions.json",
		})
	}
	for _, q := range r.Queues {
		if q.Exists {
			d.depth(r.Where, q)
		}
	}
}

// found tells of one queue or exchange and collects those that do not exist.
func (d *doctor) found(where, what string, f rabbit.Found, missing []string) []string {
	c := Check{Area: AreaBroker, Subject: where, Check: what + " " + f.Name, Status: OK, Message: "has the arguments it needs"}
	switch {
	case f.Err != nil:
		c = failed(AreaBroker, where, what+" "+f.Name, f.Err)
	case !f.Exists:
		return append(missing, f.Name)
	}
	d.say(c)
	return missing
}

func (d *doctor) depth(where string, q rabbit.Found) {
	c := Check{Area: AreaBroker, Subject: where, Check: "depth " + q.Name, Status: OK, Message: fmt.Sprintf("%d messages, %d consumers", q.Messages, q.Consumers)}
	switch q.Name {
	case messages.QueueUnrouted:
		if q.Messages > 0 {
			c.Status, c.Message = Warn, fmt.Sprintf("%d messages had a routing key that no queue is bound for", q.Messages)
			c.Fix = "publish to exchange tandem with routing key sync, sync.now or reverse-sync; look at them in the management page, then purge the queue"
		}
	case messages.QueueDead:
		if q.Messages > 0 {
			c.Status, c.Message = Warn, fmt.Sprintf("%d messages were refused or delivered too often", q.Messages)
			c.Fix = "`tandem parked list --kind message` says why; the queue holds copies and may be purged once they are dealt with"
		}
	default:
		if q.Messages > 0 && q.Consumers == 0 {
			c.Status = Warn
			c.Fix = "no worker takes them: start one with `tandem run --roles worker`"
		}
	}
	d.say(c)
}

// brokerVersion tells what a version does in its own way. The database counts
// attempts, so none of it loses work; it decides how long trouble may last
// before messages turn up in tandem.dead.
func brokerVersion(product, version string) Check {
	name := strings.TrimSpace(product + " " + version)
	if product != "" && !strings.EqualFold(product, "RabbitMQ") {
		return Check{Status: Warn, Message: name + " is not RabbitMQ, and nothing is known about it", Fix: "use RabbitMQ 3.10 or newer"}
	}
	major, minor, ok := parseVersion(version)
	switch {
	case !ok:
		return Check{Status: Warn, Message: "the broker does not tell a version that can be read: " + name, Fix: "RabbitMQ 3.10 or newer is needed"}
	case major < 3 || major == 3 && minor < 10:
		return Check{
			Status: Fail, Unavailable: true, Message: name + " is too old: it cannot hand dead letters on safely from quorum queues",
			Fix: "upgrade to RabbitMQ 3.10 or newer",
		}
	case major == 3:
		return Check{Status: OK, Message: name + ": a message given back counts as a delivery, so one that cannot be dealt with, as while the database is away, goes to tandem.dead after 20; the sweeper sends it again"}
	case major == 4 && minor < 3:
		return Check{Status: OK, Message: name + ": quorum queues without a limit of their own drop a message after 20 deliveries; job queues have their limit and dead-letter, and a message given back counts as a delivery"}
	}
	return Check{Status: OK, Message: name + ": a message given back by nack does not count as a delivery, so only crashes of workers count towards the limit of 20"}
}

func parseVersion(v string) (major, minor int, ok bool) {
	parts := strings.SplitN(v, ".", 3)
	if len(parts) < 2 {
		return 0, 0, false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(strings.TrimRight(parts[1], "-+abcdefghijklmnopqrstuvwxyz"))
	return major, minor, err1 == nil && err2 == nil
}
