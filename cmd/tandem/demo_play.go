package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/internal/demo"
	"github.com/tandem-sync/tandem/store"
)

// demoResult is what the demo proves.
type demoResult struct {
	Agree bool `json:"agree"`
	demo.Result
	Parked  []api.Parked `json:"parked"`
	Runs    []api.Run    `json:"runs"`
	Calls   int          `json:"calls"`
	Refused int          `json:"refused"`
	Seconds float64      `json:"seconds"`
	URL     string       `json:"url"`
}

// say tells the story: it is the result for a person, and beside the result for
// a program.
func (w *demoWorld) say(format string, args ...any) {
	out := w.app.stdout
	if w.app.json {
		out = w.app.stderr
	}
	fmt.Fprintf(out, format+"\n", args...)
}

// play synchronizes three times with edits between and compares the sides.
func (w *demoWorld) play(ctx context.Context) (demoResult, error) {
	begun := time.Now()
	res := demoResult{URL: w.server.url}
	s := &session{Backend: w.engine.service(), engine: w.engine}
	step := func(title string, req api.SyncRequest) error {
		w.say("\n%s", title)
		req.Trigger = store.TriggerManual
		r, err := s.Sync(ctx, "crm", req)
		if err != nil {
			return err
		}
		if r, err = w.app.follow(ctx, s, r.ID); err != nil {
			return err
		}
		res.Runs = append(res.Runs, r)
		w.say("  run %d %s: %s in %s", r.ID, r.Status, counts(r), took(r))
		if r.Error != nil {
			w.say("  %s", printable(r.Error.Message))
		}
		return nil
	}
	w.say("A REST service with %d contacts is up, %d of them broken. It answers 429 now and then.",
		len(w.remote.Good())+len(w.remote.Broken()), len(w.remote.Broken()))
	if err := step("1. First sync: everything", api.SyncRequest{}); err != nil {
		return res, err
	}
	did := w.remote.Edit(demo.Edits{Edited: 60, Created: 25, Deleted: 15, Repaired: 2})
	if err := step(fmt.Sprintf("2. The service edits %d contacts, creates %d, deletes %d and repairs %d broken ones. Incremental sync: only what changed",
		did.Edited, did.Created, did.Deleted, did.Repaired), api.SyncRequest{}); err != nil {
		return res, err
	}
	did = w.remote.Edit(demo.Edits{Edited: 40, Created: 10, Purged: 10})
	if err := step(fmt.Sprintf("3. It edits %d more, creates %d, and %d vanish without a word. Full sync: everything again, and what is gone",
		did.Edited, did.Created, did.Purged), api.SyncRequest{Mode: store.ModeFull}); err != nil {
		return res, err
	}
	err := w.compare(ctx, s, &res)
	res.Calls, res.Refused = w.remote.Calls()
	res.Seconds = time.Since(begun).Round(10 * time.Millisecond).Seconds()
	return res, err
}

// compare reads both sides anew and holds them against each other.
func (w *demoWorld) compare(ctx context.Context, s *session, res *demoResult) error {
	rows, err := w.rows(ctx)
	if err != nil {
		return err
	}
	page, err := s.Parked(ctx, api.ParkedQuery{Channel: "crm", Limit: 500})
	if err != nil {
		return err
	}
	res.Parked = page.Parked
	var parked []string
	for _, p := range page.Parked {
		parked = append(parked, p.RemoteID)
	}
	res.Result = demo.Compare(w.remote.Good(), rows, w.remote.Broken(), parked)
	res.Agree = res.Result.Agree()
	for _, r := range res.Runs {
		res.Agree = res.Agree && r.Status == store.StatusFinished
	}
	return nil
}

// rows reads the local table by plain SQL, on a path of its own: what is to be
// proved must not be used to prove it.
func (w *demoWorld) rows(ctx context.Context) ([]demo.Row, error) {
	var out []demo.Row
	err := w.engine.db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		out = nil
		rows, err := tx.QueryContext(ctx, `SELECT crm_id, email, name, coalesce(phone, ''), coalesce(city, ''),
			coalesce(birthday, ''), coalesce(CAST(orders AS text), '') FROM contacts ORDER BY crm_id`)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // Err below says what matters
		for rows.Next() {
			var r demo.Row
			f := &r.Fields
			if err := rows.Scan(&r.RemoteID, &f.Email, &f.Name, &f.Phone, &f.City, &f.Birthday, &f.Orders); err != nil {
				return err
			}
			out = append(out, r)
		}
		return rows.Err()
	})
	return out, err
}

// report prints the closing table.
func (w *demoWorld) report(res demoResult) error {
	if w.app.json {
		return w.app.printJSON(res)
	}
	w.say("\nBoth sides, compared record by record:")
	if err := w.app.pairs(
		[2]string{"  good contacts on the remote", number(int64(res.Remote))},
		[2]string{"  rows in the local table", number(int64(res.Local))},
		[2]string{"  equal in every field", number(int64(res.Equal))},
		[2]string{"  differences", number(int64(len(res.Differences)))},
		[2]string{"  broken and parked", number(int64(len(res.Parked)))},
		[2]string{"  calls to the remote", fmt.Sprintf("%d, %d of them refused with 429", res.Calls, res.Refused)},
	); err != nil {
		return err
	}
	for i, d := range res.Differences {
		if i == 20 {
			w.say("  … and %d more", len(res.Differences)-i)
			break
		}
		w.say("  ! %s", printable(d))
	}
	w.say("\nParked, each with its reason; everything else went on:")
	broken := w.remote.Broken()
	rows := make([][]string, 0, len(res.Parked))
	for _, p := range res.Parked {
		rows = append(rows, []string{"  " + number(p.ID), p.RemoteID, p.Reason, shorten(p.Message), broken[p.RemoteID]})
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[1], b[1]) })
	if err := w.app.table([]string{"  ID", "REMOTE", "REASON", "MESSAGE", "WHAT THE REMOTE HAS"}, rows); err != nil {
		return err
	}
	verdict := "The sides agree."
	if !res.Agree {
		verdict = "The sides do NOT agree."
	}
	w.say("\n%s (%.1f s)", verdict, res.Seconds)
	return nil
}

// invite says what can be looked at while the demo stays up.
func (w *demoWorld) invite() {
	w.say(`
Tandem stays up at %[1]s until Ctrl-C. Look around from another terminal:
  tandem runs list   -c %[2]s
  tandem parked list -c %[2]s
  tandem sync crm    -c %[2]s --full --wait
  curl -H "Authorization: Bearer $(sed 's/.*"token":"\([^"]*\)".*/\1/' %[3]s.lock)" %[1]s/api/v1/runs`,
		w.server.url, w.config, strings.TrimPrefix(w.engine.file.Database, "sqlite:"))
}
