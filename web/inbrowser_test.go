package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/store"
)

// TestInBrowser looks at the pages with a real browser. One browser serves the
// parts in turn: starting one costs more than all of them.
func TestInBrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t, token)
	b := newBrowser(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *world, *browser)
	}{
		{"Keyboard", byKeyboard}, {"HostileTexts", hostileTexts}, {"Layout", layout}, {"Live", live}, {"WithoutScript", withoutScript},
	} {
		ok := t.Run(part.name, func(t *testing.T) {
			w.tb, b.t = t, t
			part.test(t, w, b)
			for _, c := range b.complaints() {
				t.Errorf("the browser complains: %.600s", c)
			}
		})
		w.tb, b.t = t, t
		if !ok {
			return
		}
	}
}

// byKeyboard signs in and starts a run without touching a mouse.
func byKeyboard(t *testing.T, w *world, b *browser) {
	b.open(w.url + "/channels/shop")
	if at := b.at(w); at != "/login?next=%2Fchannels%2Fshop" {
		t.Fatalf("without signing in: at %s", at)
	}
	b.shot("login")
	b.call("Input.insertText", map[string]any{"text": token}, nil) // the field has the focus
	b.during("sign in", func() { b.press("Enter") })
	if at := b.at(w); at != "/channels/shop" {
		t.Fatalf("after signing in: at %s", at)
	}
	b.press("Tab")
	if first := b.text("document.activeElement.textContent"); first != "Skip to the content" {
		t.Errorf("the first thing the key Tab leads to is %q", first)
	}
	for i := 0; ; i++ {
		if i > 40 {
			t.Fatal("the key Tab does not lead to the button")
		}
		if b.text("document.activeElement.textContent") == "Sync now" {
			break
		}
		b.press("Tab")
		if b.text("getComputedStyle(document.activeElement).outlineStyle") == "none" {
			t.Errorf("where the focus is cannot be seen on %s", b.text("document.activeElement.outerHTML"))
		}
	}
	b.during("sync", func() { b.press("Enter") })
	if at := b.at(w); at != "/runs/7" {
		t.Errorf("after the button: at %s", at)
	}
	b.call("Page.reload", nil, nil)
}

// hostileTexts: nothing a remote said runs, and nothing of ours is against the
// pages' own policy.
func hostileTexts(t *testing.T, w *world, b *browser) {
	for _, p := range everyPage(w) {
		b.open(w.url + p)
		if title := b.text("document.title"); !strings.HasSuffix(title, "· Tandem") {
			t.Errorf("%s: the title is %q", p, title)
		}
		if n := b.text("document.querySelectorAll('main script, main img, main iframe').length"); n != "0" {
			t.Errorf("%s: %s elements that a remote made", p, n)
		}
	}
	b.open(fmt.Sprintf("%s/parked/%d", w.url, w.parked))
	if seen := b.text("document.querySelector('dd.id').textContent"); !strings.HasPrefix(seen, "<script>document.title") || !strings.Contains(seen, "<U+202E>") {
		t.Errorf("the remote id is shown as %q", seen)
	}
}

// contrast finds texts that are too close to their ground: below 4.5 to 1, or 3
// to 1 for large ones.
const contrast = `(() => {
  const parse = (c) => { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const light = (c) => { const f = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }; return 0.2126 * f(c[0]) + 0.7152 * f(c[1]) + 0.0722 * f(c[2]); };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > 0) return c; } return [255, 255, 255, 1]; };
  const bad = []; let seen = 0;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || !e.checkVisibility() || e.closest("noscript, script, option, .skip, .hide")) continue;
    const s = getComputedStyle(e), a = light(parse(s.color)), g = light(ground(e));
    const ratio = (Math.max(a, g) + 0.05) / (Math.min(a, g) + 0.05);
    const size = parseFloat(s.fontSize), large = size >= 24 || size >= 18.66 && Number(s.fontWeight) >= 700;
    seen++;
    if (ratio < (large ? 3 : 4.5)) bad.push(ratio.toFixed(2) + " " + e.tagName + "." + e.className + " " + walk.currentNode.textContent.trim().slice(0, 40));
  }
  return { seen, bad };
})()`

// layout: readable in light and dark, and no page is wider than a small screen.
func layout(t *testing.T, w *world, b *browser) {
	for _, screen := range []struct {
		scheme string
		width  int
	}{{"light", 360}, {"light", 1280}, {"dark", 1280}} {
		b.scheme(screen.scheme)
		b.size(screen.width)
		for _, p := range append(everyPage(w), "/nowhere") {
			b.open(w.url + p)
			var got struct {
				Seen int
				Bad  []string
			}
			b.eval(contrast, &got)
			if got.Seen < 8 {
				t.Errorf("%s: only %d texts looked at", p, got.Seen)
			}
			for _, bad := range got.Bad {
				t.Errorf("%s in %s: contrast %s", p, screen.scheme, bad)
			}
			if over := b.text("document.documentElement.scrollWidth - document.documentElement.clientWidth"); over != "0" {
				t.Errorf("%s is %s too wide for a screen of %d", p, over, screen.width)
			}
			b.shot(fmt.Sprintf("%s-%d%s", screen.scheme, screen.width, strings.NewReplacer("/", "-", "?", "-", "&", "-").Replace(p)))
		}
	}
	b.scheme("")
	b.size(1280)
}

// live: a page follows its run without being loaded again, keeps the focus, and
// comes to rest when the run is over.
func live(t *testing.T, w *world, b *browser) {
	b.open(w.url + "/runs/3")
	b.eval("window.mark = 1; document.querySelector('.danger').focus()", nil)
	if bar := b.text("document.querySelector('progress').value"); bar != "62" {
		t.Errorf("the bar stands at %s", bar)
	}
	var slice store.Slice
	w.write(func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.Slices(ctx, 3)
		if err != nil {
			return err
		}
		slice = list[0]
		return tx.CommitSlice(ctx, store.SliceStep{SliceID: slice.ID, Expected: 1, Next: 2, Position: json.RawMessage(`{}`), Add: store.Counters{Read: 3300, Created: 3300}})
	})
	b.until("the new numbers", func() bool { return b.text("document.querySelector('progress').value") == "90" })
	if b.text("document.activeElement.className") != "danger" {
		t.Error("the focus is lost")
	}
	b.eval("document.activeElement.blur()", nil)
	w.write(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.FinishRun(ctx, 3, store.StatusFinished, nil)
		return err
	})
	b.until("the end", func() bool { return strings.Contains(b.text("document.querySelector('h1').textContent"), "finished") })
	b.until("rest", func() bool { return b.text("document.getElementById('live-pause').hidden") == "true" })
	if b.text("window.mark") != "1" || b.text("document.querySelector('.danger')") != "null" {
		t.Error("the page was loaded again, or still offers to cancel the run")
	}
}

// withoutScript: everything works, and a page with work on it loads itself again.
func withoutScript(t *testing.T, w *world, b *browser) {
	b.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	b.open(w.url + "/runs/6") // of shop, under way
	b.during("the page to load itself again", func() {})
	b.during("cancel", func() { b.click("button.danger") })
	var run store.Run
	err := w.db.Read(t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
		run, err = tx.Run(ctx, 6)
		return err
	})
	if err != nil || !run.CancelRequested {
		t.Errorf("the button did not cancel the run: %+v %v", run, err)
	}
	b.during("sign out", func() { b.click(".out button") })
	b.open(w.url + "/runs")
	b.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": false}, nil)
	if at := b.at(w); at != "/login?next=%2Fruns" {
		t.Errorf("after signing out: at %s", at)
	}
}
