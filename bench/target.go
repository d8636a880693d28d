package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/internal/testenv"
)

// target is an empty database for one program, and how that program is called.
type target struct {
	db         *sql.DB
	url        string // for the program
	postmaster int    // process id of PostgreSQL; 0 for SQLite or unknown
	dir        string // SQLite's file and Tandem's configuration
	env        []string
	drop       func(context.Context) error
}

// explainSettings makes every later connection log the plans of slow statements.
const explainSettings = `DO $$ BEGIN
	EXECUTE format('ALTER DATABASE %%I SET session_preload_libraries = auto_explain', current_database());
	EXECUTE format('ALTER DATABASE %%I SET auto_explain.log_min_duration = %d', current_database());
	EXECUTE format('ALTER DATABASE %%I SET auto_explain.log_analyze = on', current_database());
END $$`

// newTarget makes the tables that the program finds when it starts.
func (b *bench) newTarget(ctx context.Context, key rowKey) (*target, error) {
	dir, err := os.MkdirTemp(b.dir, "target-")
	if err != nil {
		return nil, err
	}
	t := &target{dir: dir, drop: func(context.Context) error { return nil }}
	contacts, link := contactsSQLite, linkSQLite
	if key.Database == postgresDB {
		contacts, link = contactsPostgres, linkPostgres
		t.url, t.drop, err = testenv.FreshPostgres(ctx)
		if err != nil {
			return nil, err
		}
		t.db, err = sql.Open("postgres", t.url)
	} else {
		t.url = filepath.Join(dir, "bench.db")
		t.db, err = sql.Open("sqlite", "file:"+t.url+sqliteOptions)
	}
	if err != nil {
		return nil, err
	}
	statements := []string{contacts}
	if key.Program != programTandem {
		statements = append(statements, link)
	}
	if key.Database == postgresDB {
		statements = append(statements, "CHECKPOINT") // nobody pays for the one before
	}
	if key.Database == postgresDB && b.explain > 0 {
		statements = append(statements, fmt.Sprintf(explainSettings, b.explain.Milliseconds()))
	}
	for _, s := range statements {
		if _, err := t.db.ExecContext(ctx, s); err != nil {
			return nil, errors.Join(err, t.close())
		}
	}
	if key.Database == postgresDB {
		t.postmaster = postmasterOf(ctx, t.db)
	}
	if key.Program == programTandem {
		err = b.setUpTandem(ctx, t, key)
	}
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

func (t *target) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(t.db.Close(), t.drop(ctx), os.RemoveAll(t.dir))
}

// setUpTandem writes the configuration and lets Tandem make its own tables:
// like the tables of the ideal, they are there before the clock starts.
func (b *bench) setUpTandem(ctx context.Context, t *target, key rowKey) error {
	url := t.url
	if key.Database == sqliteDB {
		url = "sqlite:" + t.url
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	port, err := freePort(ctx) // a service somebody runs at the default address is not the one to measure
	if err != nil {
		return err
	}
	t.env = []string{"TANDEM_LISTEN=127.0.0.1:" + port, "PATH=" + os.Getenv("PATH"), "HOME=" + t.dir, "TMPDIR=" + t.dir, "TANDEM_SECRET_KEY=" + base64.StdEncoding.EncodeToString(secret)}
	file := fmt.Sprintf(channelFile, url, b.sourceURL(key))
	if key.Source == sourceHubSpot {
		file = fmt.Sprintf(hubChannelFile, url, b.sourceURL(key))
	}
	if err := os.WriteFile(filepath.Join(t.dir, "tandem.yaml"), []byte(file), 0o600); err != nil {
		return err
	}
	for _, command := range []string{"migrate", "apply"} {
		cmd := b.tandemCommand(ctx, t, command)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("tandem %s: %w: %s", command, err, out)
		}
	}
	return nil
}

// sourceURL is where the records come from.
func (b *bench) sourceURL(key rowKey) string {
	if key.Source == sourceHubSpot {
		return b.emulator.url
	}
	return b.source.url
}

func freePort(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

func (b *bench) tandemCommand(ctx context.Context, t *target, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, b.tandem, args...) // #nosec G204 -- the program to measure
	cmd.Dir, cmd.Env = t.dir, t.env
	return cmd
}

// tandemRun is what `tandem sync -o json` prints.
type tandemRun struct {
	Status     string          `json:"status"`
	Read       int             `json:"read"`
	Created    int             `json:"created"`
	Updated    int             `json:"updated"`
	Unchanged  int             `json:"unchanged"`
	Parked     int             `json:"parked"`
	StartedAt  time.Time       `json:"started_at"`
	FinishedAt time.Time       `json:"finished_at"`
	Error      json.RawMessage `json:"error"`
}

// measure runs one program for one case.
func (b *bench) measure(ctx context.Context, t *target, key rowKey) (sample, error) {
	before, err := t.versions(ctx, key)
	if err != nil {
		return sample{}, err
	}
	cmd := b.command(ctx, t, key)
	out, u, err := runMeasured(cmd, t.postmaster)
	if err != nil {
		return sample{}, err
	}
	var c counts
	if key.Program == programTandem {
		c, err = parseRun(out)
	} else {
		err = json.Unmarshal(out, &c)
	}
	if err != nil {
		return sample{}, err
	}
	if err := key.check(c); err != nil {
		return sample{}, err
	}
	after, err := t.versions(ctx, key)
	n := float64(key.Records)
	return sample{
		Rate: n / c.Seconds, WallRate: n / u.Wall.Seconds(),
		OwnCPU: micros(u.Own) / n, ServerCPU: micros(u.Server) / n, RSS: u.RSS, Versions: after - before,
	}, err
}

func (b *bench) command(ctx context.Context, t *target, key rowKey) *exec.Cmd {
	if key.Program == programTandem {
		args := []string{"sync", "bench", "-o", "json"}
		if key.Case != caseFirst {
			args = append(args, "--full")
		}
		return b.tandemCommand(ctx, t, args...)
	}
	args := []string{"ideal", "-source", b.sourceURL(key), "-" + key.Database, t.url}
	if key.Source == sourceHubSpot {
		args = append(args, "-hubspot")
	}
	if key.Program == programIdeal1 {
		args = append(args, "-writers", "1")
	}
	if key.Case != caseFirst {
		args = append(args, "-resync")
	}
	return exec.CommandContext(ctx, b.self, args...) // #nosec G204 -- this program
}

func parseRun(out []byte) (counts, error) {
	var r tandemRun
	if err := json.Unmarshal(out, &r); err != nil {
		return counts{}, fmt.Errorf("tandem printed no run: %w: %.500s", err, out)
	}
	if r.Status != "finished" || r.Parked > 0 {
		return counts{}, fmt.Errorf("the run did not finish well: %.2000s", out)
	}
	return counts{
		Read: r.Read, Created: r.Created, Updated: r.Updated, Unchanged: r.Unchanged,
		Seconds: r.FinishedAt.Sub(r.StartedAt).Seconds(),
	}, nil
}

// check refuses a measurement of a program that did not do the job.
func (k rowKey) check(c counts) error {
	want := counts{Read: k.Records, Seconds: c.Seconds}
	switch k.Case {
	case caseFirst:
		want.Created = k.Records
	case caseUnchanged:
		want.Unchanged = k.Records
	case caseChanged:
		want.Updated = (k.Records + 99) / 100
		want.Unchanged = k.Records - want.Updated
	}
	if c != want || c.Seconds <= 0 {
		return fmt.Errorf("did %+v, not %+v", c, want)
	}
	return nil
}

// versions counts the row versions PostgreSQL has made in contacts and links.
func (t *target) versions(ctx context.Context, key rowKey) (n int64, err error) {
	if key.Database != postgresDB {
		return 0, nil
	}
	// A backend reports when it ends, which may be a moment after its client.
	time.Sleep(300 * time.Millisecond)
	err = t.db.QueryRowContext(ctx, `SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)
		FROM pg_stat_user_tables WHERE relname IN ('contacts', 'tandem_link')`).Scan(&n)
	return n, err
}

// digest tells whether two programs left the same contacts behind.
func (t *target) digest(ctx context.Context) (string, error) {
	var parts [6]sql.NullString
	err := t.db.QueryRowContext(ctx, `SELECT count(*), sum(length(email) + length(first_name) + length(last_name) + length(company)),
		sum(score), sum(CASE WHEN active THEN 1 ELSE 0 END), min(phone) || max(phone), min(CAST(birthday AS text)) || max(CAST(birthday AS text)) FROM contacts`).
		Scan(&parts[0], &parts[1], &parts[2], &parts[3], &parts[4], &parts[5])
	if err != nil {
		return "", err
	}
	var links string
	if err := t.db.QueryRowContext(ctx, "SELECT count(*) FROM tandem_link").Scan(&links); err != nil {
		return "", err
	}
	texts := []string{links}
	for _, p := range parts {
		texts = append(texts, p.String)
	}
	return strings.Join(texts, " | "), nil
}
