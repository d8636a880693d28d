package entities

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lib/pq"

	"github.com/tandem-sync/tandem/store"
)

// pgFunction is the entity's function as the catalog has it.
type pgFunction struct {
	OID     uint32         `db:"oid"`
	Schema  string         `db:"nspname"`
	Source  string         `db:"prosrc"`
	Definer bool           `db:"prosecdef"`
	Config  pq.StringArray `db:"config"`
	Ours    bool           `db:"ours"`
	Public  bool           `db:"public"`
}

// pgMember is a table of the tree: the table itself, a partition or a child.
type pgMember struct {
	OID   uint32 `db:"oid"`
	Name  string `db:"name"` // quoted, with its schema
	Kind  string `db:"relkind"`
	Grant bool   `db:"granted"`
}

// pgTrigger is one of the entity's triggers as the catalog has it.
type pgTrigger struct {
	Table    uint32 `db:"tgrelid"`
	Name     string `db:"tgname"`
	Enabled  string `db:"tgenabled"`
	Function uint32 `db:"tgfoid"`
	Type     int    `db:"tgtype"`
	Old      string `db:"old"`
	New      string `db:"new"`
	Plain    bool   `db:"plain"` // neither a condition nor columns
	Of       string `db:"of"`    // the table, quoted
}

// pgEvent is an event that a trigger of the entity answers to.
type pgEvent struct {
	suffix, event string
	kind          int // pg_trigger.tgtype of an AFTER statement trigger
	old, new      bool
}

var pgEvents = [...]pgEvent{
	{"_i", "INSERT", 4, false, true},
	{"_u", "UPDATE", 16, true, true},
	{"_d", "DELETE", 8, true, false},
	{"_t", "TRUNCATE", 32, false, false},
}

func (e pgEvent) create(trigger, table, function string) string {
	q := "CREATE TRIGGER " + quote(trigger+e.suffix) + " AFTER " + e.event + " ON " + table
	if e.old || e.new {
		q += " REFERENCING"
	}
	if e.old {
		q += " OLD TABLE AS " + oldRows
	}
	if e.new {
		q += " NEW TABLE AS " + newRows
	}
	return q + " FOR EACH STATEMENT EXECUTE FUNCTION " + function + "()"
}

// fits reports a trigger that is what create makes, but for being enabled.
func (e pgEvent) fits(g *pgTrigger, function uint32) bool {
	name := func(is bool, n string) string {
		if is {
			return n
		}
		return ""
	}
	return g.Function == function && g.Type == e.kind && g.Plain && g.Old == name(e.old, oldRows) && g.New == name(e.new, newRows)
}

func (t *Table) capturePostgres(ctx context.Context, tx *store.Tx, entity string, cols []string) (CaptureState, error) {
	var s CaptureState
	watched, dropped := t.watched(cols)
	s.Dropped = dropped
	schema, there, err := logSchema(ctx, tx)
	if err != nil {
		return s, err
	}
	p := &pgCapture{t: t, entity: entity, cols: watched, log: quote(schema) + "." + quote(store.ChangeLogTable)}
	l := pgLook{state: &s, p: p, trigger: captureName(entity), function: quote(schema) + "." + quote(captureName(entity))}
	if t.oid == 0 { // declared only
		l.declared()
		return s, nil
	}
	if there {
		if l.have, err = functionOf(ctx, tx, schema, entity); err != nil {
			return s, err
		}
	}
	if l.tree, err = t.treePostgres(ctx, tx); err != nil {
		return s, err
	}
	if err := l.readTriggers(ctx, tx); err != nil {
		return s, err
	}
	l.look()
	return s, nil
}

// readTriggers reads the triggers of the tree that have our names, and those that
// call the function wherever they are.
func (l *pgLook) readTriggers(ctx context.Context, tx *store.Tx) error {
	oids := make([]int64, len(l.tree))
	for i := range l.tree {
		oids[i] = int64(l.tree[i].OID)
	}
	function := int64(0)
	if l.have != nil {
		function = int64(l.have.OID)
	}
	return tx.SelectContext(ctx, &l.triggers, `SELECT tgrelid, tgname, tgenabled::text, tgfoid, tgtype,
		COALESCE(tgoldtable::text, '') AS old, COALESCE(tgnewtable::text, '') AS new, tgqual IS NULL AND tgattr::text = '' AS plain,
		format('%I.%I', nspname, relname) AS of
		FROM pg_trigger g JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = relnamespace
		WHERE NOT tgisinternal AND (left(tgname, length($1)) = $1 AND tgrelid = ANY($2::oid[]) OR tgfoid = $3::oid)
		ORDER BY tgrelid, tgname`, l.trigger+"_", pq.Array(oids), function)
}

// logSchema finds the schema of the change log, or where it will be made.
func logSchema(ctx context.Context, tx *store.Tx) (schema string, there bool, err error) {
	err = tx.QueryRowContext(ctx, `SELECT COALESCE(nspname, current_schema(), 'public'), nspname IS NOT NULL
		FROM (SELECT 1) one LEFT JOIN pg_class c ON c.oid = to_regclass($1) LEFT JOIN pg_namespace n ON n.oid = c.relnamespace`, store.ChangeLogTable).Scan(&schema, &there)
	return schema, there, err
}

// functionOf gives the entity's function; nil when there is none.
func functionOf(ctx context.Context, tx *store.Tx, schema, entity string) (*pgFunction, error) {
	var list []pgFunction
	err := tx.SelectContext(ctx, &list, `SELECT p.oid, nspname, prosrc, prosecdef, COALESCE(proconfig, '{}') AS config,
		pg_has_role(proowner, 'USAGE') AS ours, has_function_privilege('public', p.oid, 'EXECUTE') AS public
		FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE proname = $1 AND nspname = $2 AND pronargs = 0`, captureName(entity), schema)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}

// treePostgres lists the table and all that inherits from it: a statement that
// names a partition sets off the partition's own triggers only.
func (t *Table) treePostgres(ctx context.Context, tx *store.Tx) ([]pgMember, error) {
	var out []pgMember
	err := tx.SelectContext(ctx, &out, `WITH RECURSIVE tree(oid) AS (SELECT $1::oid UNION SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = tree.oid)
		SELECT c.oid, format('%I.%I', nspname, relname) AS name, relkind::text, has_table_privilege(c.oid, 'TRIGGER') AS granted
		FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = relnamespace ORDER BY c.oid <> $1::oid, 2`, t.oid)
	return out, err
}

// pgLook compares what is there with what should be.
type pgLook struct {
	state             *CaptureState
	p                 *pgCapture
	trigger, function string
	have              *pgFunction
	tree              []pgMember
	triggers          []pgTrigger
}

func (l *pgLook) drift(format string, args ...any) {
	l.state.Drift = append(l.state.Drift, fmt.Sprintf(format, args...))
}

func (l *pgLook) problem(format string, args ...any) {
	l.state.Problems = append(l.state.Problems, fmt.Sprintf(format, args...))
}

func (l *pgLook) run(q string) { l.state.SQL = append(l.state.SQL, q) }

// declared is the table that applying will make.
func (l *pgLook) declared() {
	l.makeFunction()
	for _, e := range pgEvents {
		l.run(e.create(l.trigger, l.p.t.sql(), l.function))
	}
}

func (l *pgLook) makeFunction() {
	l.run(l.p.create(l.function))
	// Who may execute it may hang it on a table of his own and so write into the
	// change log. Firing it asks for no right.
	l.run("REVOKE ALL ON FUNCTION " + l.function + "() FROM PUBLIC")
}

func (l *pgLook) look() {
	switch l.p.t.kind {
	case view:
		l.problem("%s is a view", l.p.t.full())
		return
	case foreign:
		l.problem("%s is a foreign table, whose triggers see no rows together", l.p.t.full())
		return
	case ordinary, partitioned, virtual:
	}
	for _, m := range l.tree {
		if m.Kind == "f" {
			l.problem("%s is a foreign table below %s: with change triggers every write through %s would fail", m.Name, l.p.t.full(), l.p.t.full())
		}
	}
	l.state.Installed = len(l.triggers) > 0
	l.lookFunction()
	missed := false
	for i := range l.tree {
		missed = l.lookTable(&l.tree[i]) || missed
	}
	l.strays()
	if missed && l.state.Installed {
		l.run(strings.Join(strings.Fields(fmt.Sprintf("INSERT INTO %s (entity, local_key, op, origin, undo) VALUES (%s, '', 'r', 0, 0)",
			l.p.log, literal(l.p.entity))), " "))
	}
}

// strays are triggers on tables that are no part of the entity (any more).
func (l *pgLook) strays() {
	for i := range l.triggers {
		g := &l.triggers[i]
		if !slices.ContainsFunc(l.tree, func(m pgMember) bool { return m.OID == g.Table }) {
			l.drift("trigger %s is on %s, which is no part of the entity", g.Name, g.Of)
			l.run("DROP TRIGGER " + quote(g.Name) + " ON " + g.Of)
		}
	}
}

func (l *pgLook) lookFunction() {
	f := l.have
	if f == nil {
		l.makeFunction()
		if l.state.Installed {
			l.drift("the function %s is missing", l.function)
		}
		return
	}
	if !f.Ours {
		l.problem("the function %s belongs to another user", l.function)
		return
	}
	wrong := ""
	switch {
	case !strings.HasPrefix(f.Source, captureVersion):
		wrong = "was made by another version of Tandem"
	case !f.Definer || !slices.Equal(sorted(f.Config), sorted(l.p.config())):
		wrong = "runs with other rights or settings"
	case f.Public:
		wrong = "may be used by everybody"
	case f.Source != l.p.body():
		wrong = "was made for another mapping"
	}
	if wrong == "" {
		return
	}
	if l.state.Installed {
		l.drift("the function %s %s", l.function, wrong)
	}
	l.makeFunction()
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

// lookTable compares the triggers of one table; it reports whether changes may
// have been missed.
func (l *pgLook) lookTable(m *pgMember) (missed bool) {
	for _, e := range pgEvents {
		i := slices.IndexFunc(l.triggers, func(g pgTrigger) bool { return g.Table == m.OID && g.Name == l.trigger+e.suffix })
		if i >= 0 {
			g := &l.triggers[i]
			if l.have != nil && e.fits(g, l.have.OID) {
				missed = l.lookEnabled(m, g) || missed
				continue
			}
			l.run("DROP TRIGGER " + quote(g.Name) + " ON " + m.Name)
		}
		missed = true
		if !m.Grant {
			l.problem("the database's user lacks TRIGGER on %s (GRANT TRIGGER ON %s TO the user)", m.Name, m.Name)
			return missed
		}
		if l.state.Installed {
			l.drift("%s of %s is not seen: its trigger is missing or another", e.event, m.Name)
		}
		l.run(e.create(l.trigger, m.Name, l.function))
	}
	return missed
}

// lookEnabled sees to a trigger that is switched off, always or for sessions
// that people work in.
func (l *pgLook) lookEnabled(m *pgMember, g *pgTrigger) (missed bool) {
	if g.Enabled == "O" || g.Enabled == "A" {
		return false
	}
	l.drift("trigger %s of %s is disabled", g.Name, m.Name)
	l.run("ALTER TABLE " + m.Name + " ENABLE TRIGGER " + quote(g.Name))
	return true
}

// removePostgres drops the function and all triggers that call it: that asks
// for the function only, where dropping a trigger asks for the table.
func removePostgres(ctx context.Context, tx *store.Tx, entity string) (bool, error) {
	schema, there, err := logSchema(ctx, tx)
	if err != nil || !there {
		return false, err
	}
	f, err := functionOf(ctx, tx, schema, entity)
	if err != nil || f == nil {
		return false, err
	}
	_, err = tx.ExecContext(ctx, "DROP FUNCTION "+quote(schema)+"."+quote(captureName(entity))+"() CASCADE")
	return err == nil, err
}
