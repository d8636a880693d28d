package config

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-sync/tandem/channels"
)

// checker collects the problems of a File as a whole.
type checker struct {
	file     *File
	reg      *channels.Registry
	problems Problems
}

// Check judges the configuration without any network: names and references,
// addresses, schedules, mappings with their expressions, and by reg the
// settings of each channel's type. Fields that Parse found faulty are left out.
func (f *File) Check(reg *channels.Registry) Problems {
	c := &checker{file: f, reg: reg}
	c.database()
	c.broker()
	c.listen()
	c.notify()
	c.secretKey()
	c.entities()
	c.channels()
	return Problems(nil).And(c.problems)
}

// fault adds a problem at a field, placed where the field or the nearest thing
// around it stands in the file.
func (c *checker) fault(field, message, fix string) {
	if c.file.faultyAt(field) {
		return
	}
	p := Problem{File: c.file.Path, Field: field, Message: c.file.redact(message), Fix: c.file.redact(fix)}
	if p.File == "" {
		p.File = DefaultPath
	}
	at := c.file.placeOf(field)
	if at.variable != "" {
		p.File, p.Field = Environment, at.variable
	}
	p.Line, p.Column = at.line, at.column
	c.problems = append(c.problems, p)
}

// faultyAt reports whether field or something around it has a problem already.
func (p places) faultyAt(field string) bool {
	for ; field != ""; field = parent(field) {
		if p.faulty[field] {
			return true
		}
	}
	return false
}

// placeOf gives the place of field or of the nearest thing around it.
func (p places) placeOf(field string) place {
	for {
		if at, ok := p.at[field]; ok {
			return at
		}
		if field == "" {
			return place{}
		}
		field = parent(field)
	}
}

// parent cuts the last part off a path; "" is the whole file.
func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

// minRedact is the shortest secret that is taken out of running text; a shorter
// one only where it stands in quotes, or ordinary words would be torn.
const minRedact = 4

// redact takes secrets and values of the environment out of a message.
func (p places) redact(s string) string {
	for _, secret := range p.secrets {
		s = strings.ReplaceAll(s, strconv.Quote(secret), "(hidden)")
		if len(secret) >= minRedact {
			s = strings.ReplaceAll(s, secret, "(hidden)")
		}
	}
	return s
}

func (c *checker) database() {
	const fix = "write sqlite:tandem.db or postgres://user:password@host/database" // #nosec G101 -- a pattern
	db := c.file.Database
	switch {
	case strings.HasPrefix(db, "sqlite:"):
		path := strings.TrimPrefix(db, "sqlite:")
		if path == "" || strings.HasPrefix(path, ":") || strings.ContainsAny(path, "?#") {
			c.fault("database", "sqlite: needs the path of a file, without options", "write sqlite:tandem.db")
		}
	case strings.HasPrefix(db, "postgres://"), strings.HasPrefix(db, "postgresql://"):
		u, err := url.Parse(db)
		if err != nil {
			c.fault("database", "is no valid address", fix+", with special characters of the password as %XX")
		} else if strings.Trim(u.Path, "/") == "" && u.Query().Get("dbname") == "" {
			c.fault("database", "names no database", fix)
		}
	default:
		c.fault("database", "must begin with sqlite: or postgres://", fix)
	}
}

func (c *checker) broker() {
	const fix = "write embedded or amqps://user:password@host/vhost"
	b := c.file.Broker
	if b == "embedded" {
		return
	}
	if !strings.HasPrefix(b, "amqp://") && !strings.HasPrefix(b, "amqps://") {
		c.fault("broker", "must be embedded, amqp://… or amqps://…", fix)
		return
	}
	if u, err := url.Parse(b); err != nil {
		c.fault("broker", "is no valid address", fix+", with special characters of the password as %XX")
	} else if u.Hostname() == "" {
		c.fault("broker", "names no host", fix)
	}
}

// notify checks the variable that switches NOTIFY.
func (c *checker) notify() {
	add := func(message, fix string) {
		c.problems = append(c.problems, Problem{File: Environment, Field: notifyVariable, Message: message, Fix: fix})
	}
	switch said := c.file.Notifies; {
	case said != "" && said != "on" && said != "off":
		add("must be on or off", "write on or off")
	case said == "on" && !strings.HasPrefix(c.file.Database, "postgres"):
		add("needs PostgreSQL", "leave the variable out: with SQLite changes are noticed in the same process")
	}
}

func (c *checker) listen() {
	host, port, err := net.SplitHostPort(c.file.Listen)
	if err != nil {
		c.fault("listen", "must be host:port", "write "+DefaultListen)
		return
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		c.fault("listen", "the port must be a number from 0 to 65535", "write "+DefaultListen)
		return
	}
	if !loopback(host) && c.file.APIToken == "" {
		c.fault("listen", "other hosts can reach this address, so callers need an API token",
			"set the environment variable "+apiTokenVariable+" to a long random text, or listen on "+DefaultListen)
	}
}

// loopback reports whether host is this machine only.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// keyBytes is the length of a secret key.
const keyBytes = 32

func (c *checker) secretKey() {
	const fix = "make one with: openssl rand -base64 32"
	if k := c.file.SecretKeyNew; k != "" && !isKey(k) {
		c.problems = append(c.problems, Problem{File: Environment, Field: NewKeyVariable, Message: fmt.Sprintf("must be %d bytes in base64", keyBytes), Fix: fix})
	}
	if c.file.SecretKey == "" {
		if strings.HasPrefix(c.file.Database, "postgres") {
			c.fault("secret_key", "is needed with PostgreSQL, to seal the secrets of channels",
				fix+" and give it as ${TANDEM_SECRET_KEY}")
		}
		return
	}
	if !isKey(c.file.SecretKey) {
		c.fault("secret_key", fmt.Sprintf("must be %d bytes in base64", keyBytes), fix)
	}
}

// isKey reports whether s is a key: 32 bytes in base64.
func isKey(s string) bool {
	b, err := base64.StdEncoding.DecodeString(s)
	return err == nil && len(b) == keyBytes
}

var (
	nameShape  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)
	tableShape = regexp.MustCompile(`^[^\s."';]+(\.[^\s."';]+)?$`)
)

// name checks the name of a thing; seen holds the fields of earlier ones.
func (c *checker) name(field, name string, seen map[string]string) {
	switch first, taken := seen[name]; {
	case name == "":
		c.fault(field, "is missing", "give it a name")
	case !nameShape.MatchString(name):
		c.fault(field, fmt.Sprintf("%q is no name", name), "use up to 63 letters, digits, _ and -")
	case taken:
		at := ""
		if p := c.file.placeOf(first); p.line > 0 {
			at = fmt.Sprintf(" in line %d", p.line)
		}
		c.fault(field, fmt.Sprintf("the name %q is taken already%s", name, at), "give each its own name")
	default:
		seen[name] = field
	}
}

func (c *checker) entities() {
	for i := range c.file.Entities {
		e := &c.file.Entities[i]
		at := "entities." + e.Name
		if !nameShape.MatchString(e.Name) {
			c.fault(at, fmt.Sprintf("%q is no name", e.Name), "use up to 63 letters, digits, _ and -")
		}
		switch {
		case e.Table == "":
			c.fault(at+".table", "is missing", "name the table, as table or schema.table")
		case !tableShape.MatchString(e.Table):
			c.fault(at+".table", fmt.Sprintf("%q is no table name", e.Table), "write table or schema.table, without quotes")
		}
		c.entityColumns(at, e)
		if e.Capture == "modified" && e.Modified == "" {
			c.fault(at+".capture", "needs a column that holds when a row changed last", "add modified: COLUMN, or write capture: triggers")
		}
	}
}

func (c *checker) entityColumns(at string, e *Entity) {
	if len(e.Key) == 0 {
		c.fault(at+".key", "is missing", "name the key's column, or several: [a, b]")
	}
	for i, k := range e.Key {
		if k == "" || slices.Contains(e.Key[:i], k) {
			c.fault(at+".key", fmt.Sprintf("column %q is empty or named twice", k), "name each column once")
		}
	}
	if e.Create == nil {
		return
	}
	for _, col := range e.Create {
		if col.Name == "" || col.Type == "" {
			c.fault(at+".create", fmt.Sprintf("column %q has no type", col.Name), `write {column: "type"}`)
		}
	}
	for _, name := range slices.Concat(e.Key, []string{e.Modified, e.Deleted}) {
		has := func(col ColumnDecl) bool { return strings.EqualFold(col.Name, name) }
		if name != "" && !slices.ContainsFunc(e.Create, has) {
			c.fault(at+".create", fmt.Sprintf("column %q is used by the entity but not among the columns", name), "declare it here too")
		}
	}
}
