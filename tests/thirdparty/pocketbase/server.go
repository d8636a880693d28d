// Package pocketbase runs a real PocketBase, as its project releases it, for
// tests: built from its module, driven by its own command line and HTTP API.
package pocketbase

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// The superuser every data folder of these tests has.
const (
	adminEmail    = "admin@example.com"
	adminPassword = "correct-horse-battery"
)

// Build builds PocketBase's released program to path.
func Build(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/pocketbase/pocketbase/examples/base")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build PocketBase: %w: %s", err, out)
	}
	return nil
}

// Server is a running PocketBase.
type Server struct {
	URL   string // http://127.0.0.1:port
	Token string // of the superuser
	cmd   *exec.Cmd
	done  chan error
	log   *os.File
}

// Start serves the data folder dir, made when absent, on a free loopback port.
func Start(ctx context.Context, program, dir string) (*Server, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, program, "superuser", "upsert", adminEmail, adminPassword, "--dir", dir).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("PocketBase superuser: %w: %s", err, out)
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{URL: "http://127.0.0.1:" + port, done: make(chan error, 1)}
	if s.log, err = os.Create(filepath.Join(dir, "server.log")); err != nil {
		return nil, err
	}
	s.cmd = exec.Command(program, "serve", "--http", "127.0.0.1:"+port, "--dir", dir, "--dev=false")
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(err, s.log.Close())
	}
	go func() { s.done <- s.cmd.Wait() }()
	if err := s.await(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := s.login(ctx)
		if err == nil {
			return nil
		}
		select {
		case end := <-s.done:
			s.done <- end
			return fmt.Errorf("PocketBase ended while starting: %w", end)
		case <-ctx.Done():
			return fmt.Errorf("PocketBase did not get ready: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *Server) login(ctx context.Context) error {
	var answer struct{ Token string }
	err := s.Call(ctx, http.MethodPost, "/api/collections/_superusers/auth-with-password",
		map[string]string{"identity": adminEmail, "password": adminPassword}, &answer)
	s.Token = answer.Token
	return err
}

// Stop ends the server.
func (s *Server) Stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	return s.log.Close()
}

// Call makes one call of PocketBase's API; in and out may be nil.
func (s *Server) Call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if s.Token != "" {
		req.Header.Set("Authorization", s.Token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("PocketBase: %s %s: %s: %.500s", method, path, res.Status, answer)
	}
	if out == nil || len(answer) == 0 {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// Contact is a record of the contacts collection.
type Contact struct {
	ID        string   `json:"id,omitempty"`
	Email     string   `json:"email"`
	FirstName string   `json:"first_name"`
	LastName  string   `json:"last_name"`
	Phone     string   `json:"phone"`
	Company   string   `json:"company"`
	Score     float64  `json:"score"`
	Active    bool     `json:"active"`
	Birthday  string   `json:"birthday"`
	Tags      []string `json:"tags"`
}

const records = "/api/collections/contacts/records"

// CreateCollection makes the contacts collection from the JSON that the example
// ships, and lets many records be written in one call.
func (s *Server) CreateCollection(ctx context.Context, schema []byte) error {
	if err := s.Call(ctx, http.MethodPost, "/api/collections", json.RawMessage(schema), nil); err != nil {
		return err
	}
	batch := map[string]any{"batch": map[string]any{"enabled": true, "maxRequests": 1000, "timeout": 60}}
	return s.Call(ctx, http.MethodPatch, "/api/settings", batch, nil)
}

// Seed creates n contacts, numbered from 0.
func (s *Server) Seed(ctx context.Context, n int) error {
	type request struct {
		Method string  `json:"method"`
		URL    string  `json:"url"`
		Body   Contact `json:"body"`
	}
	for from := 0; from < n; from += 500 {
		var batch struct {
			Requests []request `json:"requests"`
		}
		for i := from; i < min(from+500, n); i++ {
			batch.Requests = append(batch.Requests, request{http.MethodPost, records, Numbered(i)})
		}
		if err := s.Call(ctx, http.MethodPost, "/api/batch", batch, nil); err != nil {
			return err
		}
	}
	return nil
}

// Numbered gives a contact that differs from every other in what matters:
// characters beyond ASCII, quotes, empty fields, fractions, missing dates.
func Numbered(i int) Contact {
	first := []string{"Zoë", "Łukasz", "Ana", "O'Neil", "李", "Ghassan", "Émile"}
	last := []string{"Müller", "Smith", "de la \"Cruz\"", "Ng", "Ångström"}
	c := Contact{
		Email: fmt.Sprintf("person%05d@example.com", i), FirstName: first[i%len(first)], LastName: last[i%len(last)],
		Phone: fmt.Sprintf("+49 30 %07d", i), Company: fmt.Sprintf("Company %d\\%d", i%97, i%3),
		Score: float64(i) / 4, Active: i%3 == 0, Tags: []string{"t" + strconv.Itoa(i%10), "a,b"},
	}
	if i%4 != 0 {
		c.Birthday = fmt.Sprintf("%04d-%02d-%02d 00:00:00.000Z", 1950+i%60, 1+i%12, 1+i%28)
	}
	if i%5 == 0 {
		c.Phone = ""
	}
	if i%7 == 0 {
		c.Tags = nil
	}
	return c
}

// Create makes a record through PocketBase's own API.
func (s *Server) Create(ctx context.Context, c Contact) (Contact, error) {
	var out Contact
	err := s.Call(ctx, http.MethodPost, records, c, &out)
	return out, err
}

// Update changes the given fields of a record.
func (s *Server) Update(ctx context.Context, id string, fields map[string]any) error {
	return s.Call(ctx, http.MethodPatch, records+"/"+url.PathEscape(id), fields, nil)
}

// Delete removes a record.
func (s *Server) Delete(ctx context.Context, id string) error {
	return s.Call(ctx, http.MethodDelete, records+"/"+url.PathEscape(id), nil, nil)
}

// All reads every contact, by PocketBase's id.
func (s *Server) All(ctx context.Context) (map[string]Contact, error) {
	all := map[string]Contact{}
	for page := 1; ; page++ {
		var answer struct {
			TotalItems int       `json:"totalItems"`
			Items      []Contact `json:"items"`
		}
		path := fmt.Sprintf("%s?page=%d&perPage=500&sort=id", records, page)
		if err := s.Call(ctx, http.MethodGet, path, nil, &answer); err != nil {
			return nil, err
		}
		for _, c := range answer.Items {
			all[c.ID] = c
		}
		if len(answer.Items) == 0 {
			if len(all) != answer.TotalItems {
				return nil, fmt.Errorf("read %d contacts of %d", len(all), answer.TotalItems)
			}
			return all, nil
		}
	}
}

func freePort(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}
