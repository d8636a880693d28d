package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

const (
	databaseFor = 20 * time.Second
	// dbSkewWarn is no danger to leases, which live by the database's clock
	// alone; times in lists and the choice of the newer value suffer.
	dbSkewWarn = 5 * time.Second
	// postgresOldest is the oldest PostgreSQL that is tested with.
	postgresOldest = 130000
)

// openDatabase gives the database, or nil when it is not there.
func (d *doctor) openDatabase(ctx context.Context) *store.DB {
	path, sqlite := sqlitePath(d.cfg.File.Database)
	if sqlite {
		d.folder(path)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			d.say(Check{
				Area: AreaDatabase, Check: "reachable", Status: Warn, Message: "there is no database at " + path + " yet",
				Fix: "`tandem run`, `tandem sync` or `tandem migrate` makes it",
			})
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, databaseFor)
	defer cancel()
	db, err := store.Open(ctx, store.Config{
		URL: d.cfg.File.Database, ReadOnly: sqlite, MaxConns: 4, AllowPlaintext: d.cfg.File.Network.AllowPlaintext,
	})
	if err != nil {
		d.say(failed(AreaDatabase, "", "reachable", err))
		return nil
	}
	return db
}

func (d *doctor) database(ctx context.Context, db *store.DB) {
	ctx, cancel := context.WithTimeout(ctx, databaseFor)
	defer cancel()
	f, err := db.Examine(ctx)
	switch {
	case err != nil:
		d.say(failed(AreaDatabase, "", "version", err))
	case db.Dialect() == store.SQLite:
		d.sqlite(f)
	default:
		d.postgres(f)
	}
	if err := db.CheckSchema(ctx); err != nil {
		d.say(failed(AreaDatabase, "", "schema", err))
		return
	}
	v, err := db.SchemaVersion()
	if err != nil {
		d.say(failed(AreaDatabase, "", "schema", err))
		return
	}
	d.say(Check{Area: AreaDatabase, Check: "schema", Status: OK, Message: fmt.Sprintf("the schema is version %d, which this binary works with", v)})
}

// db says a finding about the database: message and fix count when bad is true.
func (d *doctor) db(check string, bad Status, is bool, good, message, fix string) {
	c := Check{Area: AreaDatabase, Check: check, Status: OK, Message: good}
	if is {
		c.Status, c.Message, c.Fix = bad, message, fix
	}
	d.say(c)
}

func (d *doctor) postgres(f store.Facts) {
	d.db("version", Fail, f.VersionNum < postgresOldest, "PostgreSQL "+f.Version, "PostgreSQL "+f.Version+" is too old", "upgrade to PostgreSQL 13 or newer")
	skew := f.Skew.Abs()
	way := "ahead of"
	if f.Skew < 0 {
		way = "behind"
	}
	d.db("clock", Warn, skew > dbSkewWarn+f.Unsure, fmt.Sprintf("the database's clock agrees with ours within %s", (skew+f.Unsure).Round(time.Millisecond)),
		fmt.Sprintf("the database's clock is %s %s ours", skew.Round(time.Second), way), "set the clocks of both machines by NTP")
	d.db("permissions", Fail, len(f.Lacking) > 0, "the user may do all that Tandem needs on its own tables",
		"the user lacks "+strings.Join(f.Lacking, ", "), "connect as the owner of the tables"+owner(f.Owner)+", or let it GRANT these")
	d.db("temporary tables", Fail, f.NoTemp, "temporary tables may be made", "the user may not make temporary tables, in which batches are staged",
		"GRANT TEMPORARY ON DATABASE … TO the user")
	d.db("writable", Fail, f.ReadOnly, "the server takes writes", "the server is a standby, or default_transaction_read_only is on",
		"name the primary in `database:`")
	d.settings(f)
	d.db("prepared transactions", Warn, len(f.Prepared) > 0, "no prepared transaction is left over",
		"left over: "+strings.Join(f.Prepared, "; "), "they keep locks and stop vacuum: COMMIT PREPARED or ROLLBACK PREPARED them")
	d.db("idle transactions", Warn, len(f.Idle) > 0, "no session sits on a transaction",
		"open for long: "+strings.Join(f.Idle, "; "), "they keep locks and stop vacuum: end them, or pg_terminate_backend their processes")
	d.db("connections", Warn, f.MaxConnections-f.Connections < 20, fmt.Sprintf("%d of %d connections are in use", f.Connections, f.MaxConnections),
		fmt.Sprintf("%d of %d connections are in use; a process of Tandem takes up to 16", f.Connections, f.MaxConnections), "raise max_connections, or run fewer processes")
}

func owner(name string) string {
	if name == "" {
		return ""
	}
	return " (" + name + ")"
}

// settings tells of those that end or change our sessions. Limits of statements
// and locks are pinned by every session and cannot.
func (d *doctor) settings(f store.Facts) {
	var bite, fix []string
	off := func(name string) bool { v, ok := f.Settings[name]; return !ok || v == "0" }
	if !off("idle_session_timeout") {
		bite = append(bite, "idle_session_timeout is "+f.Settings["idle_session_timeout"]+": it ends connections that wait for work")
		fix = append(fix, "ALTER ROLE … SET idle_session_timeout = 0")
	}
	if !off("transaction_timeout") {
		bite = append(bite, "transaction_timeout is "+f.Settings["transaction_timeout"]+": it may end batches")
		fix = append(fix, "ALTER ROLE … SET transaction_timeout = 0")
	}
	if v := f.Settings["default_transaction_isolation"]; v != "" && v != "read committed" {
		bite = append(bite, "default_transaction_isolation is "+v+": batches are repeated more often than they need")
		fix = append(fix, "ALTER ROLE … SET default_transaction_isolation = 'read committed'")
	}
	if v := f.Settings["server_encoding"]; v != "" && v != "UTF8" {
		bite = append(bite, "the database's encoding is "+v+": letters it does not have are refused")
		fix = append(fix, "make the database with ENCODING 'UTF8'")
	}
	d.db("settings", Warn, len(bite) > 0, "no setting of the server is in the way", strings.Join(bite, "; "), strings.Join(fix, "; "))
}

func (d *doctor) sqlite(f store.Facts) {
	d.say(Check{Area: AreaDatabase, Check: "version", Status: OK, Message: "SQLite " + f.Version})
	d.db("wal", Warn, !strings.EqualFold(f.Journal, "wal"), "the journal mode is WAL",
		"the journal mode is "+f.Journal+": readers and the writer wait for each other", "`tandem run` switches to WAL, unless the file system cannot share memory: use a local disk")
	for _, file := range []struct{ path, what string }{{f.Path, "database"}, {f.Path + "-wal", "database"}, {f.Path + ".key", "key"}, {f.Path + ".lock", "lock"}} {
		st, err := os.Stat(file.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			d.say(failed(AreaDatabase, "", "file mode", err))
			continue
		}
		status := Warn
		if file.what != "database" {
			status = Fail // a secret is in it
		}
		mode := st.Mode().Perm()
		d.db("file mode", status, mode&0o077 != 0, fmt.Sprintf("%s is for its owner only (%#o)", filepath.Base(file.path), mode),
			fmt.Sprintf("others may read %s (%#o)", file.path, mode), "chmod 600 "+file.path)
	}
	fh, err := os.OpenFile(f.Path, os.O_RDWR, 0) // #nosec G304 -- the operator names the file
	d.db("permissions", Fail, err != nil, "the file can be written", fmt.Sprintf("the file cannot be written: %v", err), "run as its owner, or give it to the user Tandem runs as")
	if err == nil {
		_ = fh.Close() // nothing was written
	}
}

const (
	diskWarn = 1 << 30   // bytes
	diskFail = 100 << 20 // bytes; SQLite stops at a full disk
)

// folder looks at the disk that the file is or will be on.
func (d *doctor) folder(path string) {
	dir := filepath.Dir(path)
	free, err := freeBytes(dir)
	if err != nil {
		d.say(failed(AreaDatabase, "", "disk", fault.New(fault.Permanent, fault.CodeConfig, "", "the folder %s: %w", dir, err).WithHint("make the folder, or correct `database:`")))
		return
	}
	status := Warn
	if free < diskFail {
		status = Fail
	}
	d.db("disk", status, free < diskWarn, fmt.Sprintf("%.1f GiB are free in %s", float64(free)/(1<<30), dir),
		fmt.Sprintf("only %d MiB are free in %s", free>>20, dir), "free some room: a full disk stops all work until there is some")
}
