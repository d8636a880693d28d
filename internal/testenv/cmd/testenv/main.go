// Command testenv starts and ends the servers the tests share.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/tandem-sync/tandem/internal/testenv"
)

const usage = `usage: testenv up|down|urls|fresh|own
  up     start the private PostgreSQL and RabbitMQ (or find them running)
  down   end them and remove their files
  urls   like up, and print their URLs
  fresh  make a database and a virtual host, print their URLs, and take both
         away when standard input ends
  own    start both servers for the caller alone, print their URLs, and end them
         when standard input ends. Lines of it are orders: "kill postgres" (an
         immediate shutdown), "kill rabbitmq" (SIGKILL), "start postgres", "start
         rabbitmq"; each is answered by "ok" or by what went wrong`

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s", usage)
	}
	switch args[0] {
	case "up", "urls":
		postgres, amqp, err := testenv.Up(ctx)
		if err == nil && args[0] == "urls" {
			fmt.Printf("%s=%s\n%s=%s\n", testenv.EnvPostgres, postgres, testenv.EnvAMQP, amqp)
		}
		return err
	case "down":
		return testenv.Down(ctx)
	case "fresh":
		return fresh(ctx)
	case "own":
		return own(ctx)
	}
	return fmt.Errorf("%s", usage)
}

// fresh serves programs in other modules, which cannot call the package.
func fresh(ctx context.Context) (err error) {
	postgres, dropPostgres, err := testenv.FreshPostgres(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dropPostgres(ctx)) }()
	amqp, dropRabbit, err := testenv.FreshRabbitMQ(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dropRabbit(ctx)) }()
	fmt.Printf("%s=%s\n%s=%s\n", testenv.EnvPostgres, postgres, testenv.EnvAMQP, amqp)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// own serves programs in other modules that kill servers.
func own(ctx context.Context) (err error) {
	pair, err := testenv.NewPair(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pair.Stop()) }()
	fmt.Printf("%s=%s\n%s=%s\n", testenv.EnvPostgres, pair.Postgres.URL(), testenv.EnvAMQP, pair.RabbitMQ.URL())
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		if err := obey(ctx, pair, orders.Text()); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("ok")
	}
	return orders.Err()
}

func obey(ctx context.Context, pair *testenv.Pair, order string) error {
	switch order {
	case "kill postgres":
		return pair.Postgres.Kill(syscall.SIGQUIT)
	case "kill rabbitmq":
		return pair.RabbitMQ.Kill(syscall.SIGKILL)
	case "start postgres":
		return pair.Postgres.Start(ctx)
	case "start rabbitmq":
		return pair.RabbitMQ.Start(ctx)
	}
	return fmt.Errorf("unknown order %q", order)
}
