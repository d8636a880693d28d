package web_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/internal/testenv"
)

// browser is a real one without a window. It is driven through two pipes, by
// JSON messages that end with a zero byte (the DevTools protocol).
type browser struct {
	t       *testing.T
	cmd     *exec.Cmd
	to      *os.File
	session string
	done    chan struct{}

	mu       sync.Mutex
	next     int
	answers  map[int]chan message
	loads    int      // pages that were loaded
	problems []string // what the browser complained about
}

type message struct {
	ID     int
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *struct{ Message string }
}

// patience bounds each wait for the browser: this machine may be busy.
const patience = 60 * time.Second

func newBrowser(t *testing.T) *browser {
	t.Helper()
	program := testenv.Chromium(t)
	toR, toW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromR, fromW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: the browser's helpers may write a moment longer than it lives.
	profile, err := os.MkdirTemp("", "tandem-browser-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, to: toW, done: make(chan struct{}), answers: map[int]chan message{}}
	b.cmd = exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--user-data-dir="+profile, "--remote-debugging-pipe", "about:blank")
	b.cmd.ExtraFiles = []*os.File{toR, fromW}
	if err := b.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	_, _ = toR.Close(), fromW.Close()
	go b.listen(fromR)
	t.Cleanup(func() {
		_ = b.to.Close()
		_ = b.cmd.Process.Kill()
		_ = b.cmd.Wait() // killed
		<-b.done
		_ = fromR.Close()
		for range 20 {
			if os.RemoveAll(profile) == nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	b.attach()
	return b
}

// attach opens a page and has the browser tell of it.
func (b *browser) attach() {
	b.t.Helper()
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var session struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &session)
	b.session = session.SessionID
	for _, m := range []string{"Page.enable", "Runtime.enable", "Log.enable", "DOM.enable"} {
		b.call(m, nil, nil)
	}
}

func (b *browser) listen(from io.Reader) {
	defer close(b.done)
	r := bufio.NewReaderSize(from, 1<<20)
	for {
		line, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if err := json.Unmarshal(bytes.TrimRight(line, "\x00"), &m); err != nil {
			continue
		}
		b.mu.Lock()
		switch {
		case m.ID != 0:
			if ch := b.answers[m.ID]; ch != nil {
				ch <- m
				delete(b.answers, m.ID)
			}
		case m.Method == "Page.loadEventFired":
			b.loads++
		case m.Method == "Runtime.exceptionThrown", m.Method == "Runtime.consoleAPICalled", m.Method == "Page.javascriptDialogOpening":
			b.problems = append(b.problems, m.Method+" "+string(m.Params))
		case m.Method == "Log.entryAdded":
			// Loading a page that says 404 or 403 is an entry, too; what is
			// refused by the page's policy is what this is for.
			if !strings.Contains(string(m.Params), "the server responded with a status") {
				b.problems = append(b.problems, string(m.Params))
			}
		}
		b.mu.Unlock()
	}
}

// call asks the browser for something and waits for its answer.
func (b *browser) call(method string, params map[string]any, into any) {
	b.t.Helper()
	if err := b.try(method, params, into); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
}

func (b *browser) try(method string, params map[string]any, into any) error {
	ch := make(chan message, 1)
	b.mu.Lock()
	b.next++
	id := b.next
	b.answers[id] = ch
	b.mu.Unlock()
	msg := map[string]any{"id": id, "method": method}
	if params != nil {
		msg["params"] = params
	}
	if b.session != "" {
		msg["sessionId"] = b.session
	}
	raw, err := json.Marshal(msg)
	if err != nil {
		return err
	}
	if _, err := b.to.Write(append(raw, 0)); err != nil {
		return err
	}
	select {
	case m := <-ch:
		if m.Error != nil {
			return errors.New(m.Error.Message)
		}
		if into == nil {
			return nil
		}
		return json.Unmarshal(m.Result, into)
	case <-b.done:
		return errors.New("the browser has ended")
	case <-time.After(patience):
		return errors.New("the browser does not answer")
	}
}

func (b *browser) loaded() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.loads
}

// open goes to an address and waits until it is loaded.
func (b *browser) open(url string) {
	b.t.Helper()
	b.during("open "+url, func() { b.call("Page.navigate", map[string]any{"url": url}, nil) })
}

// during does something that leads to another page and waits for it.
func (b *browser) during(what string, do func()) {
	b.t.Helper()
	n := b.loaded()
	do()
	b.until(what, func() bool { return b.loaded() > n })
}

func (b *browser) until(what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// eval runs an expression in the page.
func (b *browser) eval(expr string, into any) {
	b.t.Helper()
	var out struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct{ Text string }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expr, "returnByValue": true}, &out)
	if out.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expr, out.ExceptionDetails.Text)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(out.Result.Value, into); err != nil {
		b.t.Fatalf("%s: %v in %s", expr, err, out.Result.Value)
	}
}

func (b *browser) text(expr string) (s string) {
	b.t.Helper()
	b.eval("String("+expr+")", &s)
	return s
}

// press presses and lets go of a key.
func (b *browser) press(key string) {
	b.t.Helper()
	code := map[string]int{"Tab": 9, "Enter": 13}[key]
	text := map[string]string{"Enter": "\r"}[key]
	for _, kind := range []string{"keyDown", "keyUp"} {
		p := map[string]any{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}
		if kind == "keyDown" && text != "" {
			p["text"] = text
		}
		b.call("Input.dispatchKeyEvent", p, nil)
	}
}

// click presses the mouse on the element; it needs no script in the page.
func (b *browser) click(selector string) {
	b.t.Helper()
	var doc struct{ Root struct{ NodeID int } }
	b.call("DOM.getDocument", nil, &doc)
	var node struct{ NodeID int }
	b.call("DOM.querySelector", map[string]any{"nodeId": doc.Root.NodeID, "selector": selector}, &node)
	if node.NodeID == 0 {
		b.t.Fatalf("there is no %s", selector)
	}
	b.call("DOM.scrollIntoViewIfNeeded", map[string]any{"nodeId": node.NodeID}, nil)
	var box struct{ Model struct{ Content []float64 } }
	b.call("DOM.getBoxModel", map[string]any{"nodeId": node.NodeID}, &box)
	q := box.Model.Content
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		b.call("Input.dispatchMouseEvent", map[string]any{
			"type": kind, "x": (q[0] + q[4]) / 2, "y": (q[1] + q[5]) / 2, "button": "left", "clickCount": 1,
		}, nil)
	}
}

// complaints gives what the browser complained about, once.
func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.problems
	b.problems = nil
	return out
}

func (b *browser) size(width int) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false}, nil)
}

func (b *browser) scheme(name string) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": name}}}, nil)
}

func (b *browser) at(w *world) string { return strings.TrimPrefix(b.text("location.href"), w.url) }

// shot keeps a picture of the page where TANDEM_TEST_SHOTS names a folder.
func (b *browser) shot(name string) {
	dir := os.Getenv("TANDEM_TEST_SHOTS")
	if dir == "" {
		return
	}
	b.t.Helper()
	var pic struct{ Data []byte }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &pic)
	if err := os.WriteFile(fmt.Sprintf("%s/%s.png", dir, name), pic.Data, 0o600); err != nil {
		b.t.Fatal(err)
	}
}
