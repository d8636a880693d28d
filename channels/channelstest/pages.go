package channelstest

import (
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/sync/record"
)

// pages reads to the end and checks what holds for every page.
func pages(t *testing.T, r channels.Reader) []channels.Page {
	t.Helper()
	var out []channels.Page
	for len(out) < maxPages {
		p, err := r.ReadPage(t.Context())
		if errors.Is(err, io.EOF) {
			if _, err := r.ReadPage(t.Context()); !errors.Is(err, io.EOF) {
				t.Errorf("after io.EOF comes %v", err)
			}
			return out
		}
		if err != nil {
			t.Fatalf("page %d: %v", len(out)+1, err)
		}
		checkPage(t, p)
		out = append(out, p)
	}
	t.Fatalf("the listing has not ended after %d pages", maxPages)
	return nil
}

func checkPage(t *testing.T, p channels.Page) {
	t.Helper()
	if len(p.Next) == 0 || len(p.Next) > 2<<10 || !json.Valid(p.Next) {
		t.Errorf("the cursor must be JSON of at most 2 KiB: %q", p.Next)
	}
	if age := time.Since(p.FetchStarted); age < 0 || age > time.Hour {
		t.Errorf("FetchStarted is %s", p.FetchStarted)
	}
	for _, r := range p.Records {
		if r.ID == "" && r.Err == nil {
			t.Error("a record has neither id nor error")
		}
	}
}

// shown is a record without what may differ between two readings.
type shown struct {
	ID      string
	Deleted bool
	Values  []record.Value
}

func show(ps []channels.Page) []shown {
	var out []shown
	for _, p := range ps {
		for _, r := range p.Records {
			out = append(out, shown{r.ID, r.Deleted, r.Values})
		}
	}
	return out
}
