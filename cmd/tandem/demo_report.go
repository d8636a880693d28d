package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/internal/demo"
	"github.com/tandem-sync/tandem/store"
)

// compare reads both sides of each remote anew and holds them against each
// other.
func (w *demoWorld) compare(ctx context.Context, res *demoResult) (err error) {
	// On a path of its own: what is to be proved must not be used to prove it.
	db, err := store.Open(ctx, store.Config{URL: "sqlite:" + w.database, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, r := range w.remotes {
		rows, err := demoRows(ctx, db, r.rows)
		if err != nil {
			return err
		}
		page, err := w.service.client.Parked(ctx, api.ParkedQuery{Channel: r.channel, Limit: 500})
		if err != nil {
			return errors.Join(err, w.alive())
		}
		out := demoOutcome{Channel: r.channel, Type: r.typ, Broken: len(r.side.Broken()), Parked: len(page.Parked)}
		var parked []string
		for _, p := range page.Parked {
			parked = append(parked, p.RemoteID)
		}
		out.Result = demo.Compare(r.side.Good(), rows, r.side.Broken(), parked)
		out.Calls, out.Refused = r.side.Calls()
		res.add(out, page.Parked)
	}
	res.Agree = res.Result.Agree()
	for _, r := range res.Runs {
		res.Agree = res.Agree && r.Status == store.StatusFinished
	}
	return nil
}

// add adds what was found about one remote to the whole.
func (res *demoResult) add(out demoOutcome, parked []api.Parked) {
	res.Remotes = append(res.Remotes, out)
	res.Parked = append(res.Parked, parked...)
	res.Remote += out.Remote
	res.Local += out.Local
	res.Equal += out.Equal
	res.Calls += out.Calls
	res.Refused += out.Refused
	for _, d := range out.Differences {
		res.Differences = append(res.Differences, out.Channel+": "+d)
	}
}

// demoRows reads a local table by plain SQL.
func demoRows(ctx context.Context, db *store.DB, query string) ([]demo.Row, error) {
	var out []demo.Row
	err := db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		out = nil
		rows, err := tx.QueryContext(ctx, query)
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
	w.say("\nParked, each with its reason; everything else went on:")
	rows := make([][]string, 0, len(res.Parked))
	for _, r := range w.remotes {
		broken := r.side.Broken()
		for _, p := range res.Parked {
			if p.Channel == r.channel {
				rows = append(rows, []string{"  " + p.Channel, p.RemoteID, p.Reason, shorten(p.Message), broken[p.RemoteID]})
			}
		}
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[0]+a[1], b[0]+b[1]) })
	if err := w.app.table([]string{"  CHANNEL", "REMOTE", "REASON", "MESSAGE", "WHAT THE REMOTE HAS"}, rows); err != nil {
		return err
	}
	w.say("\nRemote = local, compared record by record:")
	rows = rows[:0]
	for _, o := range res.Remotes {
		rows = append(rows, o.cells())
	}
	if err := w.app.table([]string{"  CHANNEL", "TYPE", "GOOD THERE", "ROWS HERE", "EQUAL", "DIFFERENT", "BROKEN", "PARKED", "CALLS"}, rows); err != nil {
		return err
	}
	for i, d := range res.Differences {
		if i == 20 {
			w.say("  … and %d more", len(res.Differences)-i)
			break
		}
		w.say("  ! %s", printable(d))
	}
	verdict := "The sides agree, and every run counted exactly what there was."
	if !res.Agree {
		verdict = "The sides do NOT agree."
	}
	w.say("\n%s (%.1f s)", verdict, res.Seconds)
	return nil
}

func (o demoOutcome) cells() []string {
	count := func(n int) string { return number(int64(n)) }
	return []string{
		"  " + o.Channel, o.Type, count(o.Remote), count(o.Local), count(o.Equal), count(len(o.Differences)),
		count(o.Broken), count(o.Parked), fmt.Sprintf("%d, %d of them 429", o.Calls, o.Refused),
	}
}

// invite says what can be looked at while the demo stays up.
func (w *demoWorld) invite() {
	said := w.service.said
	where := said.URL
	if said.Open != "" {
		where = said.Open + " in a browser\n(the link signs you in once)"
	}
	w.say(`
Tandem stays up until Ctrl-C, and both applications with it. Open %[1]s,
or look around from another terminal:
  tandem runs list   -c %[2]s
  tandem parked list -c %[2]s
  tandem sync crm    -c %[2]s --full --wait
  curl -H "Authorization: Bearer $(sed 's/.*"token":"\([^"]*\)".*/\1/' %[3]s.lock)" %[4]s/api/v1/runs`,
		where, w.config, w.database, said.URL)
}
