package testenv

import (
	"strings"
	"testing"
)

// TestNoBrowser: a browser that cannot be had is one clear sentence.
func TestNoBrowser(t *testing.T) {
	t.Setenv(EnvChromium, "/nowhere/browser")
	path, err := chromium(t.Context())
	if err == nil || path != "" || !strings.Contains(err.Error(), EnvChromium) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%q, %v", path, err)
	}
	t.Setenv(EnvChromium, "")
	t.Setenv(EnvDir, t.TempDir())
	t.Setenv("PATH", "/nowhere") // neither a browser nor apt-get
	if _, err = chromium(t.Context()); err != nil && (!strings.Contains(err.Error(), "install it, or name a browser in "+EnvChromium) || strings.Contains(err.Error(), "\n")) {
		t.Errorf("without a way to get one: %v", err)
	} else if err == nil && findChromium() == "" {
		t.Error("no browser, and no word of it")
	}
}
