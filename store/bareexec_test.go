package store_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestNoBareWrites walks the repository's code: no write runs directly on a
// pool, as lib/pq would run it twice when its answer is lost (see
// TestStatementAnswerLost). The benchmark's own hand-written loops, which are
// no part of the program, are left out.
func TestNoBareWrites(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == filepath.Join(root, "bench") || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for _, where := range bareWrites(t, path, string(source)) {
			t.Errorf("%s: a write outside an explicit transaction; use store.DB.Write", where)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 50 {
		t.Fatalf("only %d files seen: the walk is broken", files)
	}
}

// TestBareWritesAreFound proves that the search finds what it looks for.
func TestBareWritesAreFound(t *testing.T) {
	t.Parallel()
	const head = "package x\nimport \"database/sql\"\nfunc f() {\n"
	for call, want := range map[string]int{
		"db.Exec(q)": 1,
		"s.db.ExecContext(ctx, `UPDATE a SET b = 1`)":    1,
		"s.writeDB.MustExec(q)":                          1,
		"s.store.DB().NamedExecContext(ctx, q, v)":       1,
		"pool.NamedExec(q, v)":                           1,
		"db.QueryRowContext(ctx, \"insert into a\" + b)": 1,
		"db.Get(&v, \"DELETE FROM a RETURNING b\")":      1,
		"db.write.PrepareContext(ctx, `INSERT INTO a`)":  1,
		"db.Query(\"SELECT updated FROM a\")":            0,
		"tx.ExecContext(ctx, q)":                         0,
		"stmt.ExecContext(ctx)":                          0,
		"db.ExecContext(ctx, \"CREATE DATABASE \"+name)": 0, // cannot run inside a transaction
	} {
		if got := bareWrites(t, "x.go", head+call+"\n}\n"); len(got) != want {
			t.Errorf("%s: found %v, want %d", call, got, want)
		}
	}
	if got := bareWrites(t, "x.go", "package x\nfunc f() { db.Exec(q) }\n"); len(got) != 0 {
		t.Errorf("a file without SQL: found %v", got)
	}
}

var (
	poolName  = regexp.MustCompile(`(?i)(db|pool|database|^write|^read)$`)
	execName  = regexp.MustCompile(`^(Must|Named)?Exec(Context)?$`)
	queryName = regexp.MustCompile(`^(Named|Must)?(Query|QueryRow|Queryx|QueryRowx|Get|Select|Prepare|Preparex)(Context|x)?(Context)?$`)
	writeText = regexp.MustCompile(`(?i)\b(INSERT\s+INTO|UPDATE|DELETE\s+FROM|MERGE|TRUNCATE)\b`)
	outsideTx = regexp.MustCompile(`^(CREATE|DROP) DATABASE\b`)
)

// bareWrites gives the places where a source file writes through something
// that is named like a pool.
func bareWrites(t *testing.T, name, source string) (places []string) {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	if !usesSQL(file) {
		return nil
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !poolName.MatchString(lastName(method.X)) {
			return true
		}
		text := literals(call.Args)
		exec := execName.MatchString(method.Sel.Name) && !outsideTx.MatchString(text)
		query := queryName.MatchString(method.Sel.Name) && writeText.MatchString(text)
		if exec || query {
			places = append(places, fset.Position(call.Pos()).String())
		}
		return true
	})
	return places
}

func usesSQL(file *ast.File) bool {
	for _, i := range file.Imports {
		switch i.Path.Value {
		case `"database/sql"`, `"github.com/jmoiron/sqlx"`:
			return true
		}
	}
	return false
}

// lastName is the last identifier of an expression: "db" of s.db and of s.db().
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.CallExpr:
		return lastName(e.Fun)
	case *ast.ParenExpr:
		return lastName(e.X)
	}
	return ""
}

// literals joins the string literals of a call's arguments.
func literals(args []ast.Expr) string {
	var b strings.Builder
	for _, a := range args {
		ast.Inspect(a, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil {
					b.WriteString(s)
				}
			}
			return true
		})
	}
	return b.String()
}
