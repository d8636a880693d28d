package transporttest

import (
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// JSON answers 200 with body.
func JSON(body string) Step { return Answer(http.StatusOK, body, "Content-Type", "application/json") }

// HTML answers 200 with a login page, as portals and proxies do.
func HTML() Step {
	return Answer(http.StatusOK, "<!doctype html><title>Please sign in</title>", "Content-Type", "text/html; charset=utf-8")
}

// Answer answers with a status, a body and headers given as name, value pairs.
func Answer(status int, body string, header ...string) Step {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// Status answers with a status and no body.
func Status(status int, header ...string) Step { return Answer(status, "", header...) }

// Redirect answers with a redirect to target.
func Redirect(status int, target string) Step { return Status(status, "Location", target) }

// Stall never answers; it ends when the client gives up.
func Stall() Step {
	return func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
}

// Slow sends body byte by byte with a pause before each one.
func Slow(body string, pause time.Duration) Step {
	return func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		for i := range len(body) {
			select {
			case <-r.Context().Done():
				return
			case <-time.After(pause):
			}
			if _, err := io.WriteString(w, body[i:i+1]); err != nil || c.Flush() != nil {
				return
			}
		}
	}
}

// Truncated promises the whole body and breaks off after n bytes.
func Truncated(body string, n int) Step {
	return hijacked("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body[:n])
}

// CloseDelimited sends n bytes of the body, whose end only the close of the
// connection tells: to HTTP this is a complete answer.
func CloseDelimited(body string, n int) Step {
	return hijacked("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + body[:n])
}

// Raw sends text as it is and closes the connection.
func Raw(text string) Step { return hijacked(text) }

// Reset cuts the connection without an answer.
func Reset() Step {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}

func hijacked(text string) Step {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = buf.WriteString(text)
		_ = buf.Flush()
		_ = conn.Close()
	}
}

// GzipBomb answers with size bytes of blanks, compressed to a thousandth.
func GzipBomb(size int64) Step {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_ = blanks(z, size)
		_ = z.Close()
	}
}

// Endless sends blanks until the client gives up.
func Endless() Step {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = blanks(w, 1<<40)
	}
}

func blanks(w io.Writer, size int64) error {
	block := []byte(strings.Repeat(" ", 64<<10))
	for size > 0 {
		n, err := w.Write(block[:min(size, int64(len(block)))])
		if err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}

// HugeHeader answers with a header of n bytes.
func HugeHeader(n int) Step {
	return Answer(http.StatusOK, "{}", "X-Huge", strings.Repeat("x", n))
}
