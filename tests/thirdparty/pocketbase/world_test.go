package pocketbase

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// seeds is how many contacts there are on one side or both before anybody edits.
const seeds = 120

// world is a PocketBase, a Tandem that keeps a table in step with it both ways,
// and the people who edit on both sides.
type world struct {
	*testing.T

	seed    uint64
	s       *Server
	d       *deployment
	m       *model
	app     *sql.DB // the application's own connections
	servers *servers
	jobs    []*job
	kills   int
}

// job is one process of Tandem's that may be killed and started again.
type job struct {
	args []string
	p    *process
}

// snapshot reads what both sides hold.
func (w *world) snapshot() (h, t map[int][]found, err error) {
	if h, err = w.here(); err != nil {
		return nil, nil, err
	}
	t, err = w.there()
	return h, t, err
}

func (w *world) here() (map[int][]found, error) {
	q := "SELECT CAST(id AS text), company, COALESCE(email, ''), COALESCE(first_name, ''), COALESCE(last_name, ''), COALESCE(phone, ''), " +
		"COALESCE(score, 0), COALESCE(active, false), COALESCE(CAST(birthday AS text), ''), COALESCE(CAST(tags AS text), '') FROM contacts"
	rows, err := w.app.QueryContext(w.Context(), q)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[int][]found{}
	for rows.Next() {
		var f found
		var name string
		var x [6]string
		var score float64
		var active bool
		if err := rows.Scan(&f.id, &name, &x[0], &x[1], &x[2], &x[3], &score, &active, &x[4], &x[5]); err != nil {
			return nil, err
		}
		f.fields = values{"email": x[0], "first_name": x[1], "last_name": x[2], "phone": x[3], "score": scoreText(score), "birthday": x[4]}
		f.fields["active"] = boolText(active)
		if f.fields["tags"], err = tagsText([]byte(x[5])); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		n, err := number(name)
		if err != nil {
			return nil, err
		}
		out[n] = append(out[n], f)
	}
	return out, rows.Err()
}

func (w *world) there() (map[int][]found, error) {
	out := map[int][]found{}
	total := 0
	for page := 1; ; page++ {
		var answer struct {
			TotalItems int
			Items      []struct {
				Contact
				Tags    json.RawMessage `json:"tags"`
				Updated string
			}
		}
		if err := w.s.Call(w.Context(), http.MethodGet, fmt.Sprintf("%s?page=%d&perPage=500&sort=id", records, page), nil, &answer); err != nil {
			return nil, err
		}
		for _, c := range answer.Items {
			n, err := number(c.Company)
			if err != nil {
				return nil, err
			}
			tags, err := tagsText(c.Tags)
			if err != nil {
				return nil, err
			}
			id := c.ID
			c.Contact = shown(c.Contact)
			out[n] = append(out[n], found{id: id, updated: c.Updated, fields: values{
				"email": c.Email, "first_name": c.FirstName, "last_name": c.LastName, "phone": c.Phone, "score": scoreText(c.Score),
				"active": boolText(c.Active), "birthday": c.Birthday, "tags": tags,
			}})
			total++
		}
		if len(answer.Items) == 0 {
			if total != answer.TotalItems {
				return nil, fmt.Errorf("read %d contacts of %d", total, answer.TotalItems)
			}
			return out, nil
		}
	}
}

func scoreText(f float64) string {
	if f == 0 {
		return ""
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

func boolText(b bool) string {
	if b {
		return "true"
	}
	return ""
}

func tagsText(raw []byte) (string, error) {
	if len(raw) == 0 {
		return "", nil
	}
	var tags []string
	if err := json.Unmarshal(raw, &tags); err != nil || tags == nil {
		return "", err
	}
	b, err := json.Marshal(tags)
	return string(b), err
}

// waiting tells what Tandem has not brought to an end yet; nothing when all is
// quiet.
func (w *world) waiting() ([]string, error) {
	var out []string
	for _, what := range []struct{ name, from string }{
		{"captured changes", "tandem_change_log"},
		{"changed rows", "tandem_dirty"},
		{"creates of which the outcome is not known", "tandem_intent"},
		{"parked items", "tandem_parked WHERE resolved = ''"},
		{"conflicts", "tandem_conflict WHERE resolved = ''"},
		{"records to be read again", "tandem_run WHERE status NOT IN ('finished', 'failed', 'cancelled') AND lane LIKE '%ids%'"},
	} {
		var n int
		if err := w.app.QueryRowContext(w.Context(), "SELECT count(*) FROM "+what.from).Scan(&n); err != nil {
			return nil, err
		}
		if n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, what.name))
		}
	}
	return out, nil
}

// gone are the rows whose record was deleted while they were edited.
func (w *world) gone() (map[string]bool, error) {
	out := map[string]bool{}
	return out, w.each("SELECT local_key, remote_id FROM tandem_link WHERE state = 1", func(key, _ string) { out[key] = true })
}

func (w *world) each(q string, note func(a, b string)) error {
	rows, err := w.app.QueryContext(w.Context(), q)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var a, b string
		if err := rows.Scan(&a, &b); err != nil {
			return err
		}
		note(a, b)
	}
	return rows.Err()
}

// unlinked tells where the links are not one to one between rows and records.
func (w *world) unlinked(h, t map[int][]found, held int) ([]string, error) {
	row, record, rows, count := map[string]int{}, map[string]int{}, 0, 0
	for n, list := range h {
		for _, f := range list {
			row[f.id] = n
			rows++
		}
	}
	for n, list := range t {
		for _, f := range list {
			record[f.id] = n
		}
	}
	var wrong []string
	seen := map[string]bool{}
	err := w.each("SELECT local_key, remote_id FROM tandem_link WHERE state = 0", func(key, id string) {
		a, isRow := row[key]
		b, isRecord := record[id]
		if !isRow || !isRecord || a != b || seen[key] || seen["/"+id] {
			wrong = append(wrong, fmt.Sprintf("row %s (contact %d, exists %v) is linked with record %s (contact %d, exists %v)", key, a, isRow, id, b, isRecord))
		}
		seen[key], seen["/"+id] = true, true
		count++
	})
	if count != len(record) || count != rows-held {
		wrong = append(wrong, fmt.Sprintf("%d links, %d rows (%d of them held), %d records", count, rows, held, len(record)))
	}
	return wrong, err
}

// quiesce waits until nothing waits and both sides agree.
func (w *world) quiesce(limit time.Duration) (v *verdict, took time.Duration) {
	w.Helper()
	start := time.Now()
	for calm := 0; ; time.Sleep(200 * time.Millisecond) {
		err := w.pull()
		var list []string
		if err == nil {
			list, err = w.waiting()
		}
		if err == nil {
			v, err = w.compare()
		}
		if err == nil && len(list) == 0 && v.clean() {
			return v, time.Since(start)
		}
		if calm++; len(list) > 0 || err != nil {
			calm = 0
		}
		if calm == 10 || time.Since(start) > limit {
			w.explain(v)
			w.Fatalf("seed %d: after %v: error %v, waiting %q;\n%d contacts differ: %s\nlost %d: %s\nduplicates %d: %s", w.seed, time.Since(start).Round(time.Millisecond), err, list,
				len(v.differ), lines(v.differ), len(v.lost), lines(v.lost), len(v.duplicates), lines(v.duplicates))
		}
	}
}

func lines(list []string) string {
	return "\n\t" + strings.Join(list[:min(len(list), 8)], "\n\t")
}

// pull runs a complete sync, which finds deletions, and approves the waves of
// deletions that wait for a person.
func (w *world) pull() error {
	ctx := w.Context()
	if _, err := w.d.try(ctx, "sync", "pocketbase", "--full", "--wait", "-o", "json"); err != nil {
		return err
	}
	var ids []string
	if err := w.each("SELECT CAST(id AS text), reason FROM tandem_parked WHERE resolved = '' AND kind = 'mass_delete'", func(id, _ string) { ids = append(ids, id) }); err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := w.d.try(ctx, "parked", "retry", id, "--wait", "--yes"); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) compare() (*verdict, error) {
	h, t, err := w.snapshot()
	if err != nil {
		return &verdict{}, err
	}
	gone, err := w.gone()
	if err != nil {
		return &verdict{}, err
	}
	return w.m.judge(h, t, gone), nil
}

// explain logs what Tandem knows of the contacts that are wrong.
func (w *world) explain(v *verdict) {
	for _, q := range []string{
		"SELECT kind || ' ' || reason || ' row ' || local_id || ' record ' || remote_id, message FROM tandem_parked WHERE resolved = ''",
		"SELECT 'dirty row ' || local_key || ' ' || reason, CAST(attempts AS text) || ' next ' || CAST(next_at AS text) || ' claim ' || CAST(claim_epoch AS text) FROM tandem_dirty",
		"SELECT 'intent row ' || local_key || ' ' || state, body FROM tandem_intent",
	} {
		_ = w.each(q, func(a, b string) { w.Log(a, b) })
	}
	var names []string
	for _, list := range [][]string{v.differ, v.lost, v.duplicates} {
		names = append(names, list[:min(len(list), 4)]...)
	}
	for _, name := range names {
		n, _, _ := strings.Cut(strings.Split(name, ":")[0], ".")
		n = strings.Fields(n)[0]
		_ = w.each("SELECT CAST(id AS text), email FROM contacts WHERE company = 'no-"+n+"'", func(id, email string) {
			w.Log(n, "is row", id, email)
			_ = w.each("SELECT 'state ' || CAST(state AS text) || ' record ' || remote_id, base FROM tandem_link WHERE local_key = '"+id+"'", func(a, b string) { w.Log(n, "link", a, b) })
			_ = w.each("SELECT CAST(run_id AS text), body FROM tandem_change WHERE record = 'l/"+id+"' ORDER BY seq", func(a, b string) { w.Log(n, "run", a, b) })
		})
	}
}

// rests proves that another complete cycle writes nothing on either side.
func (w *world) rests() {
	w.Helper()
	_, before, err := w.snapshot()
	if err != nil {
		w.Fatal(err)
	}
	w.count()
	for range 2 {
		if err := w.pull(); err != nil {
			w.Fatal(err)
		}
	}
	_, after, err := w.snapshot()
	if err != nil {
		w.Fatal(err)
	}
	for n, list := range after {
		if !slices.EqualFunc(list, before[n], func(a, b found) bool { return a.id == b.id && a.updated == b.updated }) {
			w.Errorf("record of contact %d was written although nothing had changed: %v, was %v", n, list, before[n])
		}
	}
	var writes int
	if err := w.app.QueryRowContext(w.Context(), "SELECT count(*) FROM app_writes").Scan(&writes); err != nil {
		w.Fatal(err)
	}
	if writes > 0 || len(before) != len(after) {
		w.Errorf("%d writes of local rows although nothing had changed; %d records were %d", writes, len(after), len(before))
	}
}

// count has the table count who writes to it from here on.
func (w *world) count() {
	w.Helper()
	stmts := []string{"CREATE TABLE app_writes (what text)"}
	if w.d.driver == "sqlite" {
		for _, event := range []string{"INSERT", "UPDATE", "DELETE"} {
			stmts = append(stmts, "CREATE TRIGGER app_writes_"+event+" AFTER "+event+" ON contacts BEGIN INSERT INTO app_writes VALUES ('"+event+"'); END")
		}
	} else {
		stmts = append(stmts, "CREATE FUNCTION app_writes() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO app_writes VALUES (TG_OP); RETURN NULL; END$$",
			"CREATE TRIGGER app_writes AFTER INSERT OR UPDATE OR DELETE ON contacts FOR EACH ROW EXECUTE FUNCTION app_writes()")
	}
	for _, q := range stmts {
		if _, err := w.app.ExecContext(w.Context(), q); err != nil {
			w.Fatal(err)
		}
	}
}

// tally sums up what the runs did.
func (w *world) tally() (pushed, conflicts int) {
	w.Helper()
	err := w.app.QueryRowContext(context.Background(), "SELECT COALESCE(sum(n_pushed), 0), COALESCE(sum(n_conflicts), 0) FROM tandem_slice").Scan(&pushed, &conflicts)
	if err != nil {
		w.Error(err)
	}
	return pushed, conflicts
}
