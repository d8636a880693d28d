// Command testenv starts and ends the servers the tests share.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/tandem-sync/tandem/internal/testenv"
)

const usage = `usage: testenv up|down|urls
  up    start the private PostgreSQL and RabbitMQ (or find them running)
  down  end them and remove their files
  urls  like up, and print their URLs`

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
	}
	return fmt.Errorf("%s", usage)
}
