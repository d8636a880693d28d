package pocketbase

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// servers are the PostgreSQL and the RabbitMQ of a fleet: shared ones that stay
// up, or ones of the test's own, which it may kill.
type servers struct {
	postgres, amqp string
	own            bool
	in             io.Writer
	out            *bufio.Scanner
	brokerKills    int
	postgresKills  int
}

func startServers(t *testing.T, own bool) *servers {
	t.Helper()
	if !own {
		s := &servers{}
		s.postgres, s.amqp = freshServers(t)
		return s
	}
	cmd := exec.Command("go", "run", "./internal/testenv/cmd/testenv", "own")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // its standard input ends: it ends them
		if err := errors.Join(stdin.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	s := &servers{own: true, in: stdin, out: bufio.NewScanner(stdout)}
	for s.postgres == "" || s.amqp == "" {
		if !s.out.Scan() {
			t.Fatalf("testenv own: %v", s.out.Err())
		}
		switch name, value := cut(s.out.Text()); name {
		case "TANDEM_TEST_POSTGRES_URL":
			s.postgres = value
		case "TANDEM_TEST_AMQP_URL":
			s.amqp = value
		}
	}
	return s
}

// kill kills one of the servers now and then, if they are the test's own, and
// starts it again: RabbitMQ as a power failure would, PostgreSQL as an immediate
// shutdown does. It says whether it did.
func (s *servers) kill(t *testing.T, rng *rand.Rand) bool {
	t.Helper()
	if !s.own {
		return false
	}
	which := ""
	switch rng.IntN(6) {
	case 0:
		which = "rabbitmq"
		s.brokerKills++
	case 1:
		which = "postgres"
		s.postgresKills++
	default:
		return false
	}
	s.tell(t, "kill "+which)
	time.Sleep(time.Duration(rng.Int64N(int64(2 * time.Second))))
	s.tell(t, "start "+which)
	return true
}

func (s *servers) tell(t *testing.T, what string) {
	t.Helper()
	if _, err := fmt.Fprintln(s.in, what); err != nil {
		t.Fatal(err)
	}
	if !s.out.Scan() || !strings.HasPrefix(s.out.Text(), "ok") {
		t.Fatalf("testenv own: %s: %s %v", what, s.out.Text(), s.out.Err())
	}
}
