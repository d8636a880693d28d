package testenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// manage makes one call of RabbitMQ's HTTP API.
func manage(ctx context.Context, base, method, path string, body string, into any) error {
	u, err := url.Parse(base)
	if err != nil {
		return fmt.Errorf("management URL: %w", err)
	}
	who := u.User
	u.User = nil
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(u.String(), "/")+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	password, _ := who.Password()
	req.SetBasicAuth(who.Username(), password)
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // leaves no goroutine behind
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	answer, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, tail(answer))
	}
	if into != nil {
		return json.Unmarshal(answer, into)
	}
	return nil
}

func pingManagement(ctx context.Context, base string) error {
	var who struct{ Name string }
	return manage(ctx, base, http.MethodGet, "/api/whoami", "", &who)
}

// externalManagement gives the management API of a broker that somebody else
// runs, or "" when it does not answer or does not accept the AMQP user.
func externalManagement(ctx context.Context, amqpURL string) string {
	u, err := url.Parse(amqpURL)
	if err != nil {
		return ""
	}
	base := os.Getenv(EnvManagement)
	if base == "" {
		base = (&url.URL{Scheme: "http", User: u.User, Host: u.Hostname() + ":15672"}).String()
	}
	if b, err := url.Parse(base); err != nil || b.User == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if pingManagement(ctx, base) != nil {
		return ""
	}
	return base
}

func createVhost(ctx context.Context, b brokerAt, name string) error {
	if err := manage(ctx, b.management, http.MethodPut, "/api/vhosts/"+name, "{}", nil); err != nil {
		return fmt.Errorf("create a virtual host: %w", err)
	}
	u, err := url.Parse(b.url)
	if err != nil {
		return err
	}
	path := "/api/permissions/" + name + "/" + url.PathEscape(u.User.Username())
	if err := manage(ctx, b.management, http.MethodPut, path, `{"configure":".*","write":".*","read":".*"}`, nil); err != nil {
		return fmt.Errorf("permissions of the virtual host: %w", err)
	}
	return nil
}

func deleteVhost(ctx context.Context, b brokerAt, name string) error {
	return manage(ctx, b.management, http.MethodDelete, "/api/vhosts/"+name, "", nil)
}

// pruneVhosts deletes what killed tests left behind.
func pruneVhosts(ctx context.Context, b brokerAt, now time.Time) error {
	if b.management == "" {
		return nil
	}
	var all []struct{ Name string }
	if err := manage(ctx, b.management, http.MethodGet, "/api/vhosts", "", &all); err != nil {
		return err
	}
	for _, v := range all {
		if leftOver(v.Name, now) {
			if err := deleteVhost(ctx, b, v.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// What Tandem declares on a broker.
var (
	tandemQueues    = []string{"tandem.sync", "tandem.sync.now", "tandem.reverse-sync", "tandem.dead", "tandem.unrouted"}
	tandemExchanges = []string{"tandem", "tandem.unrouted"}
)

// sharedVhost hands out the one virtual host of a broker we cannot manage:
// emptied of Tandem's queues before and after, to one test at a time.
func sharedVhost(ctx context.Context, url string) (string, Drop, error) {
	unlock, _, err := lock(ctx, "vhost.lock")
	if err != nil {
		return "", nil, err
	}
	if err := clearVhost(ctx, url); err != nil {
		unlock()
		return "", nil, err
	}
	return url, func(ctx context.Context) error {
		defer unlock()
		return clearVhost(ctx, url)
	}, nil
}

func clearVhost(ctx context.Context, url string) (err error) {
	conn, err := dialAMQP(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	for _, q := range tandemQueues {
		if _, err := ch.QueueDelete(q, false, false, false); err != nil && !missing(err) {
			return fmt.Errorf("delete queue %s: %w", q, err)
		}
	}
	for _, x := range tandemExchanges {
		if err := ch.ExchangeDelete(x, false, false); err != nil && !missing(err) {
			return fmt.Errorf("delete exchange %s: %w", x, err)
		}
	}
	return nil
}

// missing: deleting what does not exist is no error since RabbitMQ 3.2.
func missing(err error) bool {
	var e *amqp.Error
	return errors.As(err, &e) && e.Code == amqp.NotFound
}
