package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/internal/demo"
)

// TestPagesAndMetricsOfTheService starts the service as a person would, opens
// the link it prints, starts a sync with the button and finds it in the metrics.
func TestPagesAndMetricsOfTheService(t *testing.T) {
	t.Parallel()
	remote := httptest.NewServer(demo.New(demo.Options{Contacts: 50, Broken: 1, Refuse: -1, Seed: 7}))
	defer remote.Close()
	dir := t.TempDir()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	file := strings.Replace(fmt.Sprintf(demoFile, remote.URL, filepath.Join(dir, "tandem.db")), "127.0.0.1:8080", "127.0.0.1:"+port, 1)
	if err := os.WriteFile(filepath.Join(dir, "tandem.yaml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	open, stop := startService(t, dir)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	c := &caller{t: t, http: &http.Client{Jar: jar, Transport: tr}, base: "http://127.0.0.1:" + port}
	if !strings.HasPrefix(open, c.base+"/login?once=") {
		t.Fatalf("the link is %q", open)
	}
	if code, body := c.do(http.MethodGet, "/runs", nil); code != 200 || !strings.Contains(body, "Sign in") {
		t.Errorf("without signing in: %d %.300s", code, body)
	}
	once := strings.TrimPrefix(open, c.base)
	if code, body := c.do(http.MethodGet, once, nil); code != 200 || !strings.Contains(body, "<h1>Overview</h1>") {
		t.Errorf("the link leads to %d %.300s", code, body)
	}
	if code, _ := c.do(http.MethodGet, once, nil); code != 403 {
		t.Errorf("the link a second time: %d", code)
	}
	code, body := c.do(http.MethodPost, "/channels/crm/sync", url.Values{})
	if code != 200 || !strings.Contains(body, "asked for by a person") {
		t.Errorf("the button leads to %d %.600s", code, body)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		_, text := c.do(http.MethodGet, "/metrics", nil)
		if strings.Contains(text, "\ntandem_runs_total{kind=\"sync\",result=\"finished\"} 1\n") {
			for _, line := range []string{
				"tandem_database_up 1", "tandem_records_total{outcome=\"created\"} 49", "tandem_records_total{outcome=\"parked\"} 1",
				"tandem_queue_wait_seconds_count 1", "tandem_remote_requests_total{class=\"error\"} 0",
			} {
				if !strings.Contains(text, "\n"+line+"\n") {
					t.Errorf("the metrics do not say %q", line)
				}
			}
			if strings.Contains(text, "tandem_remote_requests_total{class=\"2xx\"} 0") {
				t.Error("no request was counted")
			}
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the run is not in the metrics:\n%s", text)
		}
	}
	stop()
}

type caller struct {
	t    *testing.T
	http *http.Client
	base string
}

func (c *caller) do(method, path string, form url.Values) (int, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", c.base)
	}
	res, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		c.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// startService runs this test binary as tandem and gives the link to open, and
// what ends the service well.
func startService(t *testing.T, dir string) (open string, stop func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Args = []string{"tandem", "run", "-o", "json", "--log-level", "error"}
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	cmd.Env = []string{"HOME=" + dir, "TMPDIR=" + dir}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	t.Cleanup(func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // killed
		}
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var said struct{ Open string }
	if err == nil {
		err = json.Unmarshal(line, &said)
	}
	if err != nil {
		t.Fatalf("the service says %q: %v", line, err)
	}
	return said.Open, func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		ended = true
		if err := cmd.Wait(); err != nil {
			t.Errorf("the service ended: %v", err)
		}
	}
}
