package testenv

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/lib/pq"
)

// PostgresURL returns the URL of the server's maintenance database, starting
// the private server when there is none.
func PostgresURL(ctx context.Context) (string, error) {
	if url := os.Getenv(EnvPostgres); url != "" {
		if err := pingPostgres(ctx, url); err != nil {
			return "", fmt.Errorf("the server named by %s: %w", EnvPostgres, err)
		}
		return url, nil
	}
	var url string
	err := locked(ctx, "postgres.lock", func(dir string) error {
		s := readPart(dir, postgresFile)
		if s != nil && healthyPostgres(ctx, s) {
			url = s.URL
			return nil
		}
		if s != nil {
			if err := s.stop(); err != nil {
				return fmt.Errorf("a PostgreSQL of an earlier run: %w", err)
			}
		}
		fresh, err := startPostgres(ctx)
		if err != nil {
			return err
		}
		url = fresh.URL
		return writePart(dir, postgresFile, fresh)
	})
	return url, err
}

// healthyPostgres: the process is ours, its files are there (a cleaned /tmp
// takes them away under a running server) and it answers.
func healthyPostgres(ctx context.Context, s *server) bool {
	if len(s.PIDs) == 0 || !carries(s.PIDs[0], s.Dir) {
		return false
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "data", "global", "pg_control")); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return pingPostgres(ctx, s.URL) == nil
}

func startPostgres(ctx context.Context) (*server, error) {
	initdb, err := postgresProgram(ctx)
	if err != nil {
		return nil, err
	}
	o, err := serverOwner("postgres")
	if err != nil {
		return nil, err
	}
	dir, err := dataDir("postgres", o)
	if err != nil {
		return nil, err
	}
	s := &server{Dir: dir}
	if err := s.bootPostgres(ctx, o, initdb); err != nil {
		_ = s.stop()
		return nil, err
	}
	return s, nil
}

func (s *server) bootPostgres(ctx context.Context, o owner, initdb string) error {
	password := randomHex(16)
	pwFile := filepath.Join(s.Dir, "password")
	if err := o.write(pwFile, password+"\n"); err != nil {
		return err
	}
	data := filepath.Join(s.Dir, "data")
	env := serverEnv(s.Dir)
	if err := o.run(s.Dir, env, initdb, "-D", data, "-U", "tandem", "--pwfile", pwFile,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"); err != nil {
		return err
	}
	ports, err := freePorts(ctx, 1)
	if err != nil {
		return err
	}
	s.URL = fmt.Sprintf("postgres://tandem:%s@127.0.0.1:%d/postgres?sslmode=disable", password, ports[0])
	args := []string{
		"-D", data, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-p", strconv.Itoa(ports[0]), "-c", "max_connections=300", "-c", "shared_buffers=128MB",
		"-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "max_wal_size=2GB",
		"-c", "max_prepared_transactions=20", "-c", "log_min_messages=warning",
		"-c", "log_min_error_statement=panic",
	}
	s.again = func(ctx context.Context) error {
		p, err := o.start(s.Dir, filepath.Join(s.Dir, "log"), env, filepath.Join(filepath.Dir(initdb), "postgres"), args...)
		if err != nil {
			return err
		}
		s.PIDs = []int{p.pid}
		ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
		defer cancel()
		return p.await(ctx, func(ctx context.Context) error { return pingPostgres(ctx, s.URL) })
	}
	return s.again(ctx)
}

// postgresProgram finds initdb beside the server, not Debian's wrapper.
func postgresProgram(ctx context.Context) (string, error) {
	globs := []string{
		"/usr/lib/postgresql/*/bin/initdb", "/usr/pgsql-*/bin/initdb", "/usr/local/pgsql/bin/initdb",
		"/usr/lib/postgresql*/bin/initdb", "/opt/homebrew/opt/postgresql*/bin/initdb", "/usr/local/opt/postgresql*/bin/initdb",
	}
	if path := find("initdb", globs...); path != "" {
		return path, nil
	}
	if err := install(ctx, "postgresql"); err != nil {
		return "", err
	}
	if path := find("initdb", globs...); path != "" {
		return path, nil
	}
	return "", fmt.Errorf("postgresql was installed, but initdb is in none of the known places %v", globs)
}

// serverEnv is a server's environment: nothing of the caller's but the PATH.
func serverEnv(home string, more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + home, "LC_ALL=C.UTF-8", "TMPDIR=" + home}, more...)
}

func pingPostgres(ctx context.Context, url string) error {
	return onPostgres(ctx, url, func(ctx context.Context, db *sql.DB) error { return db.PingContext(ctx) })
}

// onPostgres runs fn with a pool that is closed afterwards.
func onPostgres(ctx context.Context, url string, fn func(context.Context, *sql.DB) error) error {
	db, err := sql.Open("postgres", url)
	if err != nil {
		return fmt.Errorf("PostgreSQL URL: %w", err)
	}
	defer db.Close() //nolint:errcheck // nothing to lose
	db.SetMaxOpenConns(1)
	return fn(ctx, db)
}

func createDatabase(ctx context.Context, admin, name string) error {
	return onPostgres(ctx, admin, func(ctx context.Context, db *sql.DB) error {
		if _, err := db.ExecContext(ctx, "CREATE DATABASE "+pq.QuoteIdentifier(name)+" TEMPLATE template0"); err != nil {
			return fmt.Errorf("create a database (the user needs CREATEDB): %w", err)
		}
		return nil
	})
}

func dropDatabase(ctx context.Context, admin, name string) error {
	return onPostgres(ctx, admin, func(ctx context.Context, db *sql.DB) error {
		_, err := db.ExecContext(ctx, "DROP DATABASE IF EXISTS "+pq.QuoteIdentifier(name)+" WITH (FORCE)")
		return err
	})
}

// pruneDatabases drops what killed tests left behind.
func pruneDatabases(ctx context.Context, admin string, now time.Time) error {
	var names []string
	err := onPostgres(ctx, admin, func(ctx context.Context, db *sql.DB) error {
		return db.QueryRowContext(ctx, "SELECT coalesce(array_agg(datname::text), '{}') FROM pg_database").Scan(pq.Array(&names))
	})
	for _, name := range names {
		if err == nil && leftOver(name, now) {
			err = dropDatabase(ctx, admin, name)
		}
	}
	return err
}
