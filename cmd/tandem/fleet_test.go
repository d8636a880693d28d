package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tandem-sync/tandem/internal/testenv"
)

// TestFleetScripts runs the sessions in testdata/fleet against a real
// PostgreSQL and a real RabbitMQ.
func TestFleetScripts(t *testing.T) {
	t.Parallel()
	p := params("testdata/fleet")
	p.Setup = func(env *testscript.Env) error {
		if err := setUpScript(env); err != nil {
			return err
		}
		file := filepath.Join(env.WorkDir, "tandem.yaml")
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		database := testenv.Postgres(t)
		env.Setenv("DATABASE_URL", database)
		own := strings.Replace(string(text), "database: sqlite:tandem.db",
			fmt.Sprintf("database: %q\nsecret_key: ${TANDEM_SECRET_KEY}", database), 1)
		own = strings.Replace(own, "id: integer primary key", "id: bigint generated always as identity primary key", 1)
		env.Setenv("TANDEM_SECRET_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
		env.Setenv("TANDEM_BROKER", testenv.RabbitMQ(t))
		return os.WriteFile(file, []byte(own), 0o600)
	}
	testscript.Run(t, p)
}

// ready PORT: waits until the process at the port is ready.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready PORT")
	}
	url := "http://127.0.0.1:" + args[0] + "/readyz"
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		ts.Check(err)
		if res, err := client.Do(req); err == nil {
			ok := res.StatusCode == http.StatusOK
			ts.Check(res.Body.Close())
			if ok {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("%s does not become ready", url)
}
