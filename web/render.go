package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

//go:embed templates/*.html assets/*
var files embed.FS

// page is what every template gets.
type page struct {
	Title string
	Nav   string // the entry of the menu that is current
	// Command is what shows the same on a terminal; "" nothing does.
	Command string
	// Live says that something on the page goes on by itself.
	Live bool
	Data any

	// Set by show.
	Version string
	Login   bool // there is a session to end
	Now     time.Time
	Self    string
}

type views map[string]*template.Template

// parseViews reads the templates, which are part of the program: one that does
// not parse is found by any test.
func parseViews() views {
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		panic(err)
	}
	layout := template.Must(template.New("layout.html").Funcs(functions).ParseFS(files, "templates/layout.html", "templates/parts.html"))
	out := views{}
	for _, name := range names {
		view := strings.TrimSuffix(path.Base(name), ".html")
		if view == "layout" || view == "parts" {
			continue
		}
		out[view] = template.Must(template.Must(layout.Clone()).ParseFS(files, name))
	}
	return out
}

// show writes a page. It is built before its first byte goes out, so that an
// answer is either whole or an error.
func (p *Pages) show(w http.ResponseWriter, r *http.Request, a answer) {
	a.page.Version, a.page.Now, a.page.Self = p.cfg.Version, p.clock.Now(), r.URL.RequestURI()
	a.page.Login = p.cfg.Token != "" && a.view != "login"
	var b bytes.Buffer
	if err := p.views[a.view].ExecuteTemplate(&b, "layout.html", a.page); err != nil {
		p.log.Error("a page could not be built", zap.String("page", a.view), zap.Error(err))
		http.Error(w, "this page could not be built; the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if a.status == 0 {
		a.status = http.StatusOK
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(b.Bytes()) // a browser that left needs no answer
}

// fail shows an error as a page, with its next step.
func (p *Pages) fail(w http.ResponseWriter, r *http.Request, err error) {
	prob := api.ProblemOf(err)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		prob = &api.Problem{Title: "Too large", Status: http.StatusRequestEntityTooLarge, Detail: "the form is too large"}
	}
	if prob.Status >= http.StatusInternalServerError && r.Context().Err() == nil {
		p.log.Error("a page failed", zap.String("path", r.URL.Path), zap.Error(err))
	}
	p.show(w, r, answer{view: "error", status: prob.Status, page: page{Title: prob.Title, Data: prob}})
}

// nothing answers addresses that are not there.
func (p *Pages) nothing(r *http.Request) (answer, error) {
	return answer{}, fault.New(fault.Permanent, fault.CodeNotFound, "", "there is no page %s", r.URL.Path)
}

// assets are served under a name that holds their hash, so that a browser may
// keep them and still has the new ones after an update.
var assets = func() map[string][]byte {
	out := map[string][]byte{}
	names, err := fs.Glob(files, "assets/*")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		b, err := files.ReadFile(name)
		if err != nil {
			panic(err)
		}
		out[hashed(path.Base(name), b)] = b
	}
	return out
}()

func hashed(name string, b []byte) string {
	sum, ext := sha256.Sum256(b), path.Ext(name)
	return strings.TrimSuffix(name, ext) + "-" + hex.EncodeToString(sum[:6]) + ext
}

func (p *Pages) asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	b, ok := assets[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	w.Header().Set("Content-Type", types[path.Ext(name)])
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(b) // a browser that left needs no answer
}

var functions = template.FuncMap{
	"asset": func(name string) (string, error) {
		b, err := files.ReadFile("assets/" + name)
		return "/assets/" + hashed(name, b), err
	},
	"num":     number,
	"plain":   visible,
	"ago":     ago,
	"utc":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"rfc3339": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"took":    took,
	"pretty":  pretty,
	"words":   func(s any) string { return strings.ReplaceAll(fmt.Sprint(s), "_", " ") },
	"reason":  reason,
	"asker":   asker,
	"active":  func(s store.Status) bool { return !s.Ended() },
	"percent": percent,
	"record":  recordPath,
	"writes": func(c api.ChannelDetail) bool {
		return slices.ContainsFunc(c.State, func(s api.ConnectorStatus) bool { return s.Outward != nil })
	},
	"list": func(s ...string) []string { return s },
	"args": func(v ...any) []any { return v },
}

// number writes a count with its thousands apart.
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "−", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// visible shows characters that would change how a text reads, controls and
// marks of writing direction, as their code points. Line ends stay.
func visible(v any) string {
	var b strings.Builder
	for _, r := range fmt.Sprint(v) {
		switch {
		case r == '\n' || r == '\t':
			b.WriteRune(r)
		case unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) || r == '\u200b' || r == '\ufeff':
			fmt.Fprintf(&b, "<U+%04X>", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// ago says how long before now t was, or how long after it will be.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	if d < 0 {
		return "in " + span(-d)
	}
	if d < time.Second {
		return "just now"
	}
	return span(d) + " ago"
}

// span writes a duration in its largest unit.
func span(d time.Duration) string {
	for _, u := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if n := int64(d / u.size); n > 1 {
			return fmt.Sprintf("%d %ss", n, u.name)
		} else if n == 1 {
			return "1 " + u.name
		}
	}
	return "less than a second"
}

// took is how long a run has been at work.
func took(r api.Run, now time.Time) string {
	if r.StartedAt == nil {
		return ""
	}
	end := now
	if r.FinishedAt != nil {
		end = *r.FinishedAt
	}
	switch d := end.Sub(*r.StartedAt); {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	}
}

func percent(p api.Progress) int64 {
	if p.Total == nil || *p.Total <= 0 {
		return 0
	}
	return min(100, p.Done*100 / *p.Total)
}

// reason writes why a run waits: its word in plain letters, and the detail.
func reason(s string) string {
	word, detail, found := strings.Cut(s, ": ")
	if word = strings.ReplaceAll(word, "_", " "); found {
		word += ": " + detail
	}
	return visible(word)
}

// asker says who or what asked for a run.
func asker(t store.Trigger) string {
	switch t {
	case store.TriggerManual:
		return "a person"
	case store.TriggerSchedule:
		return "the schedule"
	case store.TriggerAPI:
		return "the API"
	default:
		return "a " + string(t)
	}
}

// unescape takes back what JSON in Go escapes for the sake of HTML, which the
// templates do themselves.
var unescape = strings.NewReplacer(`\\`, `\\`, `\u003c`, "<", `\u003e`, ">", `\u0026`, "&")

// pretty indents JSON; what is none is shown as it is.
func pretty(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return visible(string(raw))
	}
	return visible(unescape.Replace(b.String()))
}
