// Command testenv starts and ends the servers the tests share.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tandem-sync/tandem/internal/testenv"
)

const usage = `usage: testenv up|down|urls|fresh
  up     start the private PostgreSQL and RabbitMQ (or find them running)
  down   end them and remove their files
  urls   like up, and print their URLs
  fresh  make a database and a virtual host, print their URLs, and take both
         away when standard input ends`

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
