package testenv

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// brokerAt is a broker to make virtual hosts on.
type brokerAt struct {
	url        string // AMQP
	management string // HTTP API with user and password; "" cannot be used
}

// broker gives the broker named by the environment or the private one, which it
// starts when there is none.
func broker(ctx context.Context) (brokerAt, error) {
	if url := os.Getenv(EnvAMQP); url != "" {
		if err := pingAMQP(ctx, url); err != nil {
			return brokerAt{}, fmt.Errorf("the broker named by %s: %w", EnvAMQP, err)
		}
		return brokerAt{url: url, management: externalManagement(ctx, url)}, nil
	}
	var b brokerAt
	err := locked(ctx, "rabbitmq.lock", func(dir string) error {
		s := readPart(dir, rabbitFile)
		if s == nil || !healthyRabbit(ctx, s) {
			if s != nil {
				if err := s.stop(); err != nil {
					return fmt.Errorf("a RabbitMQ of an earlier run: %w", err)
				}
			}
			fresh, err := startRabbit(ctx)
			if err != nil {
				return err
			}
			if err := writePart(dir, rabbitFile, fresh); err != nil {
				return err
			}
			s = fresh
		}
		b = brokerAt{url: s.URL, management: s.Management}
		return nil
	})
	return b, err
}

func healthyRabbit(ctx context.Context, s *server) bool {
	if len(s.PIDs) == 0 || !carries(s.PIDs[0], s.Dir) {
		return false
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "mnesia")); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	return pingAMQP(ctx, s.URL) == nil
}

// rabbitProgram finds the server's own script: the one on Debian's PATH is a
// wrapper that only root and the service's user may call.
func rabbitProgram(ctx context.Context) (string, error) {
	look := func() string {
		for _, path := range []string{"/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server", "/usr/local/opt/rabbitmq/sbin/rabbitmq-server"} {
			if resolved, err := filepath.EvalSymlinks(path); err == nil {
				return resolved
			}
		}
		return find("rabbitmq-server", "/usr/lib/rabbitmq/lib/*/sbin/rabbitmq-server", "/opt/rabbitmq*/sbin/rabbitmq-server")
	}
	if path := look(); path != "" {
		return path, nil
	}
	if err := install(ctx, "rabbitmq-server"); err != nil {
		return "", err
	}
	if path := look(); path != "" {
		return path, nil
	}
	return "", fmt.Errorf("rabbitmq-server was installed, but is in none of the known places")
}

func startRabbit(ctx context.Context) (*server, error) {
	program, err := rabbitProgram(ctx)
	if err != nil {
		return nil, err
	}
	o, err := serverOwner("rabbitmq")
	if err != nil {
		return nil, err
	}
	dir, err := dataDir("rabbitmq", o)
	if err != nil {
		return nil, err
	}
	s := &server{Dir: dir}
	if err := s.bootRabbit(ctx, o, program); err != nil {
		_ = s.stop()
		return nil, err
	}
	return s, nil
}

// ports of a private node.
type rabbitPorts struct{ amqp, management, dist, epmd int }

func (s *server) bootRabbit(ctx context.Context, o owner, program string) error {
	free, err := freePorts(ctx, 4)
	if err != nil {
		return err
	}
	at := rabbitPorts{amqp: free[0], management: free[1], dist: free[2], epmd: free[3]}
	password := randomHex(16)
	if err := s.writeRabbitFiles(o, at, password); err != nil {
		return err
	}
	env := s.rabbitEnv(at)
	epmd, err := s.startEpmd(ctx, o, env, at.epmd)
	if err != nil {
		return err
	}
	s.PIDs = []int{epmd.pid}
	s.URL = fmt.Sprintf("amqp://tandem:%s@127.0.0.1:%d/", password, at.amqp)
	s.Management = fmt.Sprintf("http://tandem:%s@127.0.0.1:%d", password, at.management)
	s.again = func(ctx context.Context) error {
		p, err := o.start(s.Dir, filepath.Join(s.Dir, "log"), env, program)
		if err != nil {
			return err
		}
		s.PIDs = []int{p.pid, epmd.pid}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
		return p.await(ctx, func(ctx context.Context) error {
			if err := pingAMQP(ctx, s.URL); err != nil {
				return err
			}
			return pingManagement(ctx, s.Management)
		})
	}
	return s.again(ctx)
}

// startEpmd runs Erlang's port mapper ourselves: one that the node starts on
// its own would stay behind as a daemon. An own port keeps it apart from the
// machine's.
func (s *server) startEpmd(ctx context.Context, o owner, env []string, port int) (*process, error) {
	program := find("epmd", "/usr/lib/erlang/bin/epmd", "/usr/lib/erlang/erts-*/bin/epmd", "/usr/lib64/erlang/bin/epmd",
		"/opt/homebrew/opt/erlang/lib/erlang/erts-*/bin/epmd", "/usr/local/lib/erlang/bin/epmd")
	if program == "" {
		return nil, fmt.Errorf("RabbitMQ is installed, but Erlang's epmd is not on the PATH")
	}
	// Started by a path below the server's folder, so that its arguments carry it.
	link := filepath.Join(s.Dir, "epmd")
	if err := os.Symlink(program, link); err != nil {
		return nil, err
	}
	p, err := o.start(s.Dir, filepath.Join(s.Dir, "epmd.log"), env, link, "-port", strconv.Itoa(port), "-address", "127.0.0.1")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return p, p.await(ctx, func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp4", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

func (s *server) writeRabbitFiles(o owner, at rabbitPorts, password string) error {
	conf := strings.Join([]string{
		"listeners.tcp.1 = 127.0.0.1:" + strconv.Itoa(at.amqp),
		"management.tcp.ip = 127.0.0.1",
		"management.tcp.port = " + strconv.Itoa(at.management),
		"management.rates_mode = none",
		"default_user = tandem",
		"default_pass = " + password,
		"loopback_users.tandem = true",
		"disk_free_limit.absolute = 50MB",
		"raft.wal_max_size_bytes = 33554432", // default 512 MB of memory
		"log.file.level = warning",
		"log.console = false",
		"",
	}, "\n")
	files := map[string]string{
		"rabbitmq.conf":   conf,
		"advanced.config": "[].\n",
		"enabled_plugins": "[rabbitmq_management].\n",
		"rabbitmq-env.sh": "",
		".erlang.cookie":  randomHex(20),
	}
	for name, content := range files {
		path := filepath.Join(s.Dir, name)
		if err := o.write(path, content); err != nil {
			return err
		}
	}
	return os.Chmod(filepath.Join(s.Dir, ".erlang.cookie"), 0o400)
}

// rabbitEnv keeps a node wholly inside its folder and on loopback.
func (s *server) rabbitEnv(at rabbitPorts) []string {
	in := func(name string) string { return filepath.Join(s.Dir, name) }
	return serverEnv(s.Dir,
		"RABBITMQ_NODENAME=tandem-"+randomHex(4)+"@localhost",
		"RABBITMQ_CONF_ENV_FILE="+in("rabbitmq-env.sh"),
		"RABBITMQ_CONFIG_FILE="+in("rabbitmq.conf"),
		"RABBITMQ_ADVANCED_CONFIG_FILE="+in("advanced.config"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+in("enabled_plugins"),
		"RABBITMQ_MNESIA_BASE="+in("mnesia"),
		"RABBITMQ_LOG_BASE="+in("logs"),
		"RABBITMQ_GENERATED_CONFIG_DIR="+in("generated"),
		"RABBITMQ_SCHEMA_DIR="+in("schema"),
		"RABBITMQ_PID_FILE="+in("pid"),
		"RABBITMQ_DIST_PORT="+strconv.Itoa(at.dist),
		// Loopback only, and the folder as an argument that tells the process apart.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} -tandem_testenv "+s.Dir,
		"ERL_EPMD_PORT="+strconv.Itoa(at.epmd),
		"ERL_EPMD_ADDRESS=127.0.0.1",
		"RUNNING_UNDER_SYSTEMD=1", // the script becomes the node: the process id is the node's
		"ERL_CRASH_DUMP=/dev/null",
	)
}

// pingAMQP opens and closes a connection.
func pingAMQP(ctx context.Context, url string) error {
	conn, err := dialAMQP(ctx, url)
	if err != nil {
		return err
	}
	return conn.Close()
}

func dialAMQP(ctx context.Context, url string) (*amqp.Connection, error) {
	return amqp.DialConfig(url, amqp.Config{Dial: func(network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		// The client lifts the deadline once the connection is open.
		return conn, conn.SetDeadline(time.Now().Add(15 * time.Second))
	}})
}
