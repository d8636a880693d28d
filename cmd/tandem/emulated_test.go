package main

import (
	"database/sql"
	"io"
	"net/http"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tandem-sync/tandem/emulate/hubspot"
)

// hubspotCall METHOD PATH BODY: calls the emulated account at $PORT2, again
// where it is told to wait or the answer does not come.
func hubspotCall(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: hubspot METHOD PATH BODY")
	}
	client := &http.Client{}
	defer client.CloseIdleConnections()
	for range 3 {
		req, err := http.NewRequest(args[0], "http://127.0.0.1:"+ts.Getenv("PORT2")+args[1], strings.NewReader(args[2])) //nolint:noctx // of a test
		ts.Check(err)
		req.Header.Set("Authorization", "Bearer "+hubspot.DefaultToken)
		req.Header.Set("Content-Type", "application/json")
		res, err := client.Do(req)
		if err != nil {
			continue
		}
		body, err := io.ReadAll(res.Body)
		ts.Check(res.Body.Close())
		if err == nil && res.StatusCode/100 == 2 && !strings.HasPrefix(string(body), "<") {
			return
		}
	}
	ts.Fatalf("%s %s is not answered", args[0], args[1])
}

// sqlCommand DATABASE STATEMENT [WANT]: carries the statement out as any other
// program would; with WANT it gives that one value.
func sqlCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: sql DATABASE STATEMENT [WANT]")
	}
	db, err := sql.Open("sqlite", "file:"+ts.MkAbs(args[0])+"?_pragma=busy_timeout(5000)")
	ts.Check(err)
	defer db.Close() //nolint:errcheck // of a test
	if len(args) == 2 {
		_, err := db.Exec(args[1]) //nolint:noctx // of a test
		ts.Check(err)
		return
	}
	var got string
	ts.Check(db.QueryRow(args[1]).Scan(&got)) //nolint:noctx // of a test
	if got != args[2] {
		ts.Fatalf("%s gives %q, want %q", args[1], got, args[2])
	}
}
