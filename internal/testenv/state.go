package testenv

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is one running server as the state file remembers it.
type server struct {
	URL        string `json:"url"`
	Management string `json:"management,omitempty"` // RabbitMQ's HTTP API
	Dir        string `json:"dir"`                  // all its files; every process carries it in its arguments
	PIDs       []int  `json:"pids"`                 // the order to end them in

	// again starts the server's main process, PIDs[0], on its files and waits
	// until it answers; nil for a server that a state file remembers.
	again func(context.Context) error
}

// stateDir gives the folder of the state file and the lock, made when absent.
func stateDir() (string, error) {
	dir := os.Getenv(EnvDir)
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil { // no HOME
			cache = os.TempDir()
		}
		dir = filepath.Join(cache, "tandem-testenv-"+strconv.Itoa(os.Getuid()))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("folder for the test servers: %w", err)
	}
	return dir, nil
}

// locked runs fn while holding the named lock file of the state folder. Other
// processes and other calls in this process wait for it.
func locked(ctx context.Context, name string, fn func(dir string) error) error {
	unlock, dir, err := lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	return fn(dir)
}

func lock(ctx context.Context, name string) (unlock func(), dir string, err error) {
	dir, err = stateDir()
	if err != nil {
		return nil, "", err
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600) // #nosec G304 -- own state folder
	if err != nil {
		return nil, "", fmt.Errorf("lock of the test servers: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, dir, nil // closing releases
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, "", fmt.Errorf("lock of the test servers: %w", err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, "", fmt.Errorf("waited too long for %s, which another test process holds: %w", f.Name(), ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// The state files, one a server, so that starting one does not wait for the other.
const (
	postgresFile = "postgres.json"
	rabbitFile   = "rabbitmq.json"
)

// readPart reads a state file; a missing or broken one is no server.
func readPart(dir, name string) *server {
	var s server
	b, err := os.ReadFile(filepath.Join(dir, name)) // #nosec G304 -- own state folder
	if err != nil || json.Unmarshal(b, &s) != nil || s.Dir == "" {
		return nil
	}
	return &s
}

func writePart(dir, name string, s *server) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, name+".new")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("state file of the test servers: %w", err)
	}
	return os.Rename(tmp, filepath.Join(dir, name))
}

// dataDir makes a folder for a server's files that the server's own user can
// reach, which a folder below root's home is not.
func dataDir(what string, o owner) (string, error) {
	base := "/var/tmp" // a disk on most systems, so that fsync costs what it costs
	if _, err := os.Stat(base); err != nil {
		base = os.TempDir()
	}
	dir, err := os.MkdirTemp(base, "tandem-testenv-"+what+"-")
	if errors.Is(err, fs.ErrPermission) {
		dir, err = os.MkdirTemp("", "tandem-testenv-"+what+"-")
	}
	if err != nil {
		return "", fmt.Errorf("folder for the server's files: %w", err)
	}
	if err := o.chown(dir); err != nil {
		return "", err
	}
	return dir, nil
}

// freePorts gives n different loopback ports that are free now.
func freePorts(ctx context.Context, n int) ([]int, error) {
	ports := make([]int, 0, n)
	for range n {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("no free loopback port: %w", err)
		}
		defer l.Close() //nolint:errcheck // held until all are known, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// freshName names a database or virtual host; the time lets left-overs of
// killed tests be told from those in use.
func freshName() string {
	return fmt.Sprintf("tandem_test_%d_%s", time.Now().Unix(), randomHex(6))
}

// leftOver reports whether name is one of ours and older than any test runs.
func leftOver(name string, now time.Time) bool {
	rest, ok := strings.CutPrefix(name, "tandem_test_")
	if !ok {
		return false
	}
	at, _, _ := strings.Cut(rest, "_")
	sec, err := strconv.ParseInt(at, 10, 64)
	return err == nil && now.Sub(time.Unix(sec, 0)) > 3*time.Hour
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// withPath puts name in the place of the database or virtual host of a URL.
func withPath(raw, name string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	u.Path, u.RawPath = "/"+name, ""
	return u.String()
}
