package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// EnvChromium names the browser to use instead of the one that is found.
const EnvChromium = "TANDEM_TEST_CHROMIUM"

// Chromium returns the path of a Chromium, or of a browser that is one inside,
// for tests that look at pages. Where there is none it is installed, as root and
// with apt-get; where that is not possible either, the test fails.
func Chromium(tb testing.TB) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	path, err := chromium(ctx)
	if err != nil {
		tb.Fatalf("a browser for the tests: %v", err)
	}
	return path
}

func chromium(ctx context.Context) (path string, err error) {
	if path := os.Getenv(EnvChromium); path != "" {
		if _, err := exec.LookPath(path); err != nil {
			return "", fmt.Errorf("the program named by %s: %w", EnvChromium, err)
		}
		return path, nil
	}
	err = locked(ctx, "chromium.lock", func(string) error {
		if path = findChromium(); path != "" {
			return nil
		}
		if _, err := exec.LookPath("apt-get"); err != nil || os.Getuid() != 0 {
			return fmt.Errorf("no Chromium is installed and none can be installed from here (needs root and apt-get); install it, or name a browser in %s", EnvChromium)
		}
		if err := install(ctx, "chromium"); err != nil {
			return err
		}
		if path = findChromium(); path == "" {
			return errors.New("chromium was installed, but is not on the PATH")
		}
		return nil
	})
	return path, err
}

// findChromium looks for the program as it is called: what its name leads to may
// be a wrapper for many.
func findChromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	for _, path := range []string{"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}
