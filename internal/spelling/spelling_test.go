package spelling_test

import (
	"testing"

	"github.com/tandem-sync/tandem/internal/spelling"
)

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"email", "email", 0}, {"emial", "email", 2}, {"page_sise", "page_size", 1}, {"kitten", "sitting", 3}} {
		if got := spelling.Distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q: got %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
