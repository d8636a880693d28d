package rabbit_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/messages/rabbit"
)

// envWorker makes the test binary a worker on the broker it names.
const envWorker = "TANDEM_TEST_RABBIT_WORKER"

const workerSlots = 2

// worker consumes and publishes until its input ends, and says on its output
// what happened. It is a process of its own because watermill-amqp's
// reconnecting is a data race, which the race detector would report in every
// test of this package.
func worker() int {
	b, err := rabbit.New(rabbit.Config{URL: os.Getenv(envWorker), ConfirmTimeout: 2 * time.Second})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	var out sync.Mutex
	say := func(words ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Println(words...)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- b.Run(ctx, messages.Handler{Queue: messages.QueueSync, Slots: workerSlots, Handle: func(ctx context.Context, d messages.Delivery) error {
			say("begin", string(d.Body), d.Redelivered)
			if strings.HasPrefix(string(d.Body), "slow") && !d.Redelivered {
				time.Sleep(time.Second)
			}
			say("end", string(d.Body), ctx.Err())
			return nil
		}})
	}()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch body, isJob := strings.CutPrefix(in.Text(), "publish "); {
		case isJob:
			for b.Publish(ctx, job(body)) != nil {
				time.Sleep(20 * time.Millisecond)
			}
			say("published", body)
		default:
			say("ready", b.Ready(ctx) == nil)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		say("error", err)
		return 1
	}
	if err := b.Close(); err != nil {
		say("error", err)
		return 1
	}
	say("drained")
	return 0
}

// process is a worker seen from the test.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser

	mu    sync.Mutex
	lines []string
	done  chan struct{}
}

func startWorker(t *testing.T, url string) *process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), envWorker+"="+url, "GORACE=exitcode=0 log_path="+t.TempDir()+"/race")
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	cmd.Stderr = os.Stderr
	check(t, cmd.Start())
	p := &process{t: t, cmd: cmd, in: in, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, s.Text())
			p.mu.Unlock()
		}
	}()
	t.Cleanup(func() { <-p.done })
	return p
}

func (p *process) tell(line string) {
	p.t.Helper()
	_, err := fmt.Fprintln(p.in, line)
	check(p.t, err)
}

func (p *process) count(line string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, l := range p.lines {
		if l == line {
			n++
		}
	}
	return n
}

func (p *process) await(line string) {
	p.t.Helper()
	until(p.t, fmt.Sprintf("the worker to say %q", line), func() bool { return p.count(line) > 0 })
}

func (p *process) finish() {
	p.t.Helper()
	check(p.t, p.in.Close())
	p.await("drained")
	<-p.done
	check(p.t, p.cmd.Wait())
}

// TestReconnect cuts both connections of a worker again and again: it publishes
// and consumes on, and what was in work is delivered again.
func TestReconnect(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	p, via := newProxy(t, url)
	w := startWorker(t, via)
	w.tell("publish 0")
	w.await("end 0 <nil>")
	for i := 1; i <= 4; i++ {
		if i == 3 { // the broker is away for a while
			p.down()
			time.AfterFunc(700*time.Millisecond, p.up)
		} else {
			p.cut()
		}
		body := strconv.Itoa(i)
		w.tell("publish " + body)
		w.await("published " + body)
		w.await("end " + body + " <nil>")
	}

	w.tell("publish slow")
	w.await("begin slow false")
	p.cut()
	w.await("begin slow true") // the broker gives it to the next while the first still works
	w.await("end slow <nil>")
	until(t, "the worker to be ready", func() bool { w.tell("ready?"); return w.count("ready true") > 0 })
	w.finish()
	for i := range 5 {
		if n := w.count(fmt.Sprintf("begin %d false", i)); n < 1 {
			t.Errorf("message %d was handled %d times", i, n)
		}
	}
	if left := letters(t, url, messages.QueueSync); len(left) != 0 {
		t.Errorf("left in the queue: %v", left)
	}
}

// TestEndWhileDisconnected: a worker that is told to stop while the broker is
// away stops.
func TestEndWhileDisconnected(t *testing.T) {
	t.Parallel()
	p, via := newProxy(t, testenv.RabbitMQ(t))
	w := startWorker(t, via)
	w.tell("publish x")
	w.await("end x <nil>")
	p.down()
	time.Sleep(300 * time.Millisecond)
	w.finish()
}
