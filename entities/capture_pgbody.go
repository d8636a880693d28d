package entities

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tandem-sync/tandem/store"
)

// pgCapture words the trigger function of an entity on PostgreSQL.
//
// One statement-level AFTER trigger per event hands all rows of the statement
// over as transition tables, which costs far less than a call per row. An update
// joins old and new rows by key: equal keys are compared column by column, and
// what is on one side only had its key changed. So no row trigger is needed, and
// a partitioned table that moves a row to another partition looks no different.
// A FULL JOIN is never a nested loop, whose plan, made for one row and kept,
// would take hours for a hundred thousand.
type pgCapture struct {
	t      *Table
	entity string
	cols   []*column
	log    string // the change log, quoted with its schema
}

// Names of the transition tables. They hide any table of that name.
const (
	oldRows = "tandem_old"
	newRows = "tandem_new"
)

// undoSetting is where a transaction that takes a run back names the run, beside
// store.OriginSetting.
const undoSetting = "tandem.undo"

const (
	pathSetting  = "pg_catalog, pg_temp"
	mergeSetting = "enable_mergejoin"
	// joinMemory is what the join of a large statement may take before it goes to
	// disk; a small one takes what it needs.
	joinMemory = "64MB"
	// jitSetting is off: the size of a join of transition tables is guessed as if
	// every pair might match, so compiling it would seem worth while; it takes as
	// long as a hundred thousand rows do.
	jitSetting = "jit"
	// captureVersion begins the function's text. It changes with what this version
	// of the program makes otherwise than those before it.
	captureVersion = "\n-- change capture, version 2"
)

// settings are pinned while the function runs: nothing of the caller's search
// path is looked at, so that nobody's function or operator is taken for the
// database's own.
func (p *pgCapture) settings() [][2]string {
	return append([][2]string{{"search_path", pathSetting}, {mergeSetting, "off"}, {jitSetting, "off"}, {"work_mem", joinMemory}}, p.t.keySettings()...)
}

// config is the settings in the form of pg_proc.proconfig.
func (p *pgCapture) config() []string {
	var out []string
	for _, s := range p.settings() {
		out = append(out, s[0]+"="+s[1])
	}
	return out
}

// create is the statement that makes or replaces the function.
func (p *pgCapture) create(function string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER", function)
	for _, s := range p.settings() {
		v := literal(s[1])
		if s[0] == "search_path" {
			v = s[1]
		}
		fmt.Fprintf(&b, " SET %s = %s", quote(s[0]), v)
	}
	return b.String() + " AS " + dollars(p.body())
}

// dollars quotes a body with a tag that is not in it.
func dollars(body string) string {
	tag := "$tandem$"
	for strings.Contains(body, tag) {
		tag = tag[:len(tag)-1] + "x$"
	}
	return tag + body + tag
}

// same is how a key column of the two sides is compared: bytes for texts, so
// that a collation that takes letters for equal does not hide a change of key.
func (c *column) same(a, b string) string {
	if c.plainlyEqual() {
		return a + "." + quote(c.Name) + " = " + b + "." + quote(c.Name)
	}
	return c.bytesSQL(a) + " = " + c.bytesSQL(b)
}

// differs is how a watched column of the two sides is compared.
func (c *column) differs() string {
	if c.plainlyEqual() || slices.Contains([]string{"numeric", "float4", "float8", "time", "timetz"}, c.base) {
		return "o." + quote(c.Name) + " IS DISTINCT FROM n." + quote(c.Name)
	}
	return c.bytesSQL("o") + " IS DISTINCT FROM " + c.bytesSQL("n")
}

func (c *column) bytesSQL(row string) string {
	return "(" + row + "." + quote(c.Name) + `)::text COLLATE "C"`
}

// plainlyEqual reports types whose values are equal exactly when their texts
// are, and that compare without a collation.
func (c *column) plainlyEqual() bool {
	if c.domain || c.array {
		return false // an operator of the domain's own may be in another schema
	}
	switch c.base {
	case "int2", "int4", "int8", "oid", "uuid", "bool", "date", "timestamp", "timestamptz", "bytea":
		return true
	}
	return false
}

// changed is the text list of the columns that differ between o and n.
func (p *pgCapture) changed() string {
	if len(p.cols) == 0 {
		return "''"
	}
	parts := make([]string, len(p.cols))
	for i, c := range p.cols {
		parts[i] = "CASE WHEN " + c.differs() + " THEN " + literal(jsonString(c.Name)) + " END"
	}
	return "pg_catalog.concat_ws(',', " + strings.Join(parts, ",\n\t\t\t\t") + ")"
}

// pair joins the old and the new rows of an update.
func (p *pgCapture) pair() string {
	on := make([]string, len(p.t.Key))
	for i, c := range p.t.keyColumns() {
		on[i] = c.same("o", "n")
	}
	return "FROM " + oldRows + " o FULL JOIN " + newRows + " n ON " + strings.Join(on, " AND ")
}

// insert logs what a query gives: key, op, fields.
func (p *pgCapture) insert(key, op, fields, rest string) string {
	return fmt.Sprintf("INSERT INTO %s (entity, local_key, op, fields, origin, undo)\n\t\tSELECT %s, %s, %s, %s, by_connector, by_undo%s",
		p.log, literal(p.entity), key, op, fields, rest)
}

// whole asks to reconcile the entity.
func (p *pgCapture) whole() string { return p.insert("''", "'r'", "NULL::text", "") }

// rows logs every row of a transition table.
func (p *pgCapture) rows(table, op string) string {
	rest := " FROM " + table + " x"
	if null := p.t.keyIsNull("x"); null != "" {
		rest += " WHERE NOT (" + null + ")"
	}
	return p.insert(p.t.keySQL("x"), literal(op), "NULL::text", rest)
}

// update logs the rows of an update that differ.
func (p *pgCapture) update() string {
	first := quote(p.t.Key[0])
	lone := "(o." + first + " IS NULL OR n." + first + " IS NULL)"
	null := ""
	if p.t.keyIsNull("o") != "" {
		null = " AND u.key IS NOT NULL"
	}
	return p.insert("u.key", "u.op", "u.fields", fmt.Sprintf(`
		FROM (SELECT COALESCE(%s, %s) AS key,
			CASE WHEN n.%s IS NULL THEN 'd' ELSE 'u' END AS op,
			CASE WHEN NOT %s THEN '[' || %s || ']' END AS fields
			%s OFFSET 0) u
		WHERE (u.fields IS NULL OR u.fields <> '[]')%s`,
		p.t.keySQL("n"), p.t.keySQL("o"), first, lone, p.changed(), p.pair(), null))
}

// body is the function. The probe finds out whether the statements still fit the
// table, in a block that writes nothing and so costs no transaction id: after a
// mapped column was dropped or changed its type, all keys are logged, and
// without a key a wish to reconcile, but the user's own statement never fails
// for it.
func (p *pgCapture) body() string {
	const failures = "undefined_column OR undefined_function OR ambiguous_function OR datatype_mismatch OR wrong_object_type OR cannot_coerce OR indeterminate_datatype OR undefined_object"
	return captureVersion + fmt.Sprintf(`
DECLARE
	by_connector bigint := 0;
	by_undo bigint := 0;
	fits boolean := true;
BEGIN
	IF pg_catalog.pg_trigger_depth() = 1 THEN
		IF pg_catalog.current_setting('%[1]s', true) ~ '^[0-9]{1,18}$' THEN
			by_connector := pg_catalog.current_setting('%[1]s', true)::bigint;
		END IF;
		IF pg_catalog.current_setting('%[2]s', true) ~ '^[0-9]{1,18}$' THEN
			by_undo := pg_catalog.current_setting('%[2]s', true)::bigint;
		END IF;
	END IF;
	IF TG_OP = 'TRUNCATE' THEN
		%[3]s;
		RETURN NULL;
	END IF;
	BEGIN
		IF TG_OP = 'INSERT' THEN
			PERFORM %[4]s FROM %[10]s x WHERE false;
		ELSIF TG_OP = 'DELETE' THEN
			PERFORM %[4]s FROM %[11]s x WHERE false;
		ELSE
			PERFORM %[5]s, %[6]s, %[7]s %[8]s WHERE false;
		END IF;
	EXCEPTION WHEN %[9]s THEN
		fits := false;
	END;
	IF fits AND TG_OP = 'INSERT' THEN
		%[12]s;
	ELSIF fits AND TG_OP = 'DELETE' THEN
		%[13]s;
	ELSIF fits THEN
		%[14]s;
	ELSIF TG_OP = 'UPDATE' THEN
		BEGIN
			%[12]s;
			%[13]s;
		EXCEPTION WHEN %[9]s THEN
			%[3]s;
		END;
	ELSE
		%[3]s;
	END IF;
	RETURN NULL;
END`, store.OriginSetting, undoSetting, p.whole(), p.t.keySQL("x"), p.t.keySQL("o"), p.t.keySQL("n"), p.changed(), p.pair(), failures,
		newRows, oldRows, p.rows(newRows, "u"), p.rows(oldRows, "d"), p.update())
}
