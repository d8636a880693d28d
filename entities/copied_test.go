package entities

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// COPY reads a backslash and what follows it as one character, and ends a field
// or a line at a bare tab or line end; everything else stands for itself.
func TestAppendCopied(t *testing.T) {
	t.Parallel()
	plain := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
	letters := []string{"a", "é", "\x01", "\x02", "\v", "\x0e", "]", "[", `\`, "\n", "\r", "\t", "日", "\x7f", "\xff", "\x8c", "\x89"}
	rnd := rand.New(rand.NewPCG(1, 2)) // #nosec G404 -- a test's own, the same each time
	for range 20_000 {
		var b strings.Builder
		for range rnd.IntN(30) {
			b.WriteString(letters[rnd.IntN(len(letters))])
			b.WriteString(strings.Repeat("x", rnd.IntN(9)))
		}
		s := b.String()
		if got := string(appendCopied([]byte("before"), s)); got != "before"+plain.Replace(s) {
			t.Fatalf("%q became %q", s, got)
		}
	}
}

func TestBadText(t *testing.T) {
	t.Parallel()
	letters := []string{"a", "é", "\x01", "日", "\x7f", "\xff", "\xc3", "\x00", "\U0001f600"}
	rnd := rand.New(rand.NewPCG(3, 4)) // #nosec G404 -- a test's own, the same each time
	bad := 0
	for range 20_000 {
		s := strings.Repeat("x", rnd.IntN(20)) + letters[rnd.IntN(len(letters))] + strings.Repeat("y", rnd.IntN(20))
		want := strings.Contains(s, "\x00") || !utf8.ValidString(s)
		if got := badText(s) != ""; got != want {
			t.Fatalf("%q: bad is %v", s, got)
		}
		if want {
			bad++
		}
	}
	if bad == 0 {
		t.Fatal("no bad text was tried")
	}
}
