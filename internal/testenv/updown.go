package testenv

import (
	"context"
	"errors"
	"os"
	"time"
)

// Up starts both servers, or finds them running, and clears away what killed
// tests left on them. It returns their URLs.
func Up(ctx context.Context) (postgres, amqp string, err error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	postgres, err = PostgresURL(ctx)
	if err != nil {
		return "", "", err
	}
	b, err := broker(ctx)
	if err != nil {
		return "", "", err
	}
	return postgres, b.url, errors.Join(pruneDatabases(ctx, postgres, time.Now()), pruneVhosts(ctx, b, time.Now()))
}

// Down ends the private servers and removes their files. Servers named by the
// environment are left alone.
func Down(ctx context.Context) error {
	var errs []error
	for _, part := range []struct{ lock, file string }{{"postgres.lock", postgresFile}, {"rabbitmq.lock", rabbitFile}} {
		errs = append(errs, locked(ctx, part.lock, func(dir string) error {
			s := readPart(dir, part.file)
			if s == nil {
				return nil
			}
			if err := s.stop(); err != nil {
				return err
			}
			return os.Remove(dir + "/" + part.file)
		}))
	}
	return errors.Join(errs...)
}
