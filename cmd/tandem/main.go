// Command tandem keeps records in step between applications and a database:
// the service, the commands that steer it, and the same work in the foreground.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	_ "github.com/tandem-sync/tandem/channels/all" // the channel types
)

func main() {
	os.Exit(realMain())
}

func realMain() int {
	ctx, stop := signals()
	defer stop()
	return execute(ctx, os.Args[1:], os.Stdout, os.Stderr, os.LookupEnv)
}

// signals gives a context that ends at the first SIGINT or SIGTERM: work then
// drains. A second signal ends the process at once.
func signals() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case <-ch:
				if n > 0 {
					os.Exit(1)
				}
				cancel()
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(ch)
		close(done)
		cancel()
	}
}

// execute runs one command line and gives the exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer, env func(string) (string, bool)) int {
	a := newApp(stdout, stderr, env)
	a.json = wantsJSON(args)
	root := rootCommand(a)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !a.started {
		err = usageError(err)
	}
	return a.finish(err)
}
