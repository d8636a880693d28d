package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden compares the problems of each testdata/*.yaml with the .txt file
// of the same name, one problem a line; no line means a clean file.
func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	vars := env(map[string]string{
		"URL": "https://api.example.com", "TOKEN": "s3cr3t-token", "BAD": "s3cr3t-value", "EMPTY": "",
		"COLUMN": "s3cr3t-column", "N": "7",
	})
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			f, ps := Parse(filepath.Base(file), data, vars)
			ps = ps.And(f.Check(registry(t)))
			got := ""
			for _, p := range ps {
				got += p.String() + "\n"
			}
			if strings.Contains(got, "s3cr3t") {
				t.Errorf("a secret is shown:\n%s", got)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("problems:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}
