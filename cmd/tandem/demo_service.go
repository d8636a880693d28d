package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tandem-sync/tandem/internal/client"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/store"
)

// demoService is the running Tandem of the demo, seen from outside.
type demoService struct {
	child  *child
	client *client.Client
	said   announcement
}

// announcement is what `tandem run -o json` prints once it is ready.
type announcement struct {
	URL  string `json:"url"`
	PID  int    `json:"pid"`
	Open string `json:"open"`
}

// startService starts Tandem as a process of its own and waits until it is
// ready.
func (w *demoWorld) startService(ctx context.Context) error {
	out := filepath.Join(w.dir, "service.json")
	if err := os.Remove(out); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	c, err := startChild(ctx, childFiles{out: out, log: filepath.Join(w.dir, "service.log")}, ownVariables(os.Environ()), "run", "-c", w.config, "-o", "json")
	if err != nil {
		return err
	}
	w.service = &demoService{child: c}
	for {
		if err := c.failed(); err != nil {
			return err
		}
		if b, err := os.ReadFile(out); err == nil && bytes.HasSuffix(b, []byte("\n")) { //nolint:gosec // in our folder
			return w.greet(b)
		}
		if err := (clock.System{}).Sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// greet makes a client of what the service has announced.
func (w *demoWorld) greet(line []byte) error {
	s := w.service
	if err := json.Unmarshal(line, &s.said); err != nil {
		return fmt.Errorf("what the service says: %w: %s", err, line)
	}
	info, held, err := store.ReadLock(w.database)
	if err != nil {
		return err
	}
	if !held || info.PID != s.child.pid() {
		return fmt.Errorf("process %d does not hold the database", s.child.pid())
	}
	s.client, err = client.New(s.said.URL, info.Token, "the demo's own process does not answer")
	return err
}

// session talks to the service.
func (w *demoWorld) session() *session { return &session{Backend: w.service.client} }

// alive gives the reason why there is no service any more.
func (w *demoWorld) alive() error {
	if w.service == nil {
		return errors.New("the service is not running")
	}
	return w.service.child.failed()
}

// killService ends the service as a crash would: SIGKILL, nothing is saved.
func (w *demoWorld) killService() (pid int) {
	s := w.service
	w.service = nil
	s.client.Close()
	s.child.kill()
	return s.child.pid()
}

func (w *demoWorld) stopService() error {
	s := w.service
	if s == nil {
		return nil
	}
	w.service = nil
	if s.client != nil {
		s.client.Close()
	}
	return s.child.stop(demoEnd)
}
