package config

import (
	"fmt"
	"regexp"
	"strings"
)

// openMark and closeMark stand for the braces of ${NAME} while YAML is parsed:
// inside { } YAML takes braces for its own. Both are code points that Unicode
// keeps out of text for good, and they are as wide as what they stand for.
const (
	openMark  = '\uFDD0'
	closeMark = '\uFDD1'
)

var (
	reference    = regexp.MustCompile(`\$\{[^{}\n,]*\}`)
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	marks        = strings.NewReplacer(string(openMark), "{", string(closeMark), "}")
)

// hideBraces puts marks for the braces of variable references.
func hideBraces(s string) string {
	return reference.ReplaceAllStringFunc(s, func(r string) string {
		return "$" + string(openMark) + r[2:len(r)-1] + string(closeMark)
	})
}

// showBraces undoes hideBraces.
func showBraces(s string) string {
	if !strings.ContainsRune(s, openMark) {
		return s
	}
	return marks.Replace(s)
}

// expand fills in ${NAME}; $${ is a plain ${. It reports whether any text came
// from the environment and, with a problem at n, whether all went well.
func (d *decoder) expand(s string, n *node) (text string, from, ok bool) {
	s = showBraces(s)
	if !strings.Contains(s, "${") {
		return s, false, true
	}
	var b strings.Builder
	ok = true
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			b.WriteString(s)
			return b.String(), from, ok
		}
		if i > 0 && s[i-1] == '$' {
			b.WriteString(s[:i-1])
			b.WriteString("${")
			s = s[i+2:]
			continue
		}
		b.WriteString(s[:i])
		name, rest, closed := strings.Cut(s[i+2:], "}")
		if !closed || !variableName.MatchString(name) {
			d.fault(n, "holds a malformed ${…}", "write ${NAME} with letters, digits and _; $${ stands for a plain ${")
			return "", from, false
		}
		value, set := d.env(name)
		if !set {
			d.fault(n, fmt.Sprintf("the environment variable %s is not set", name), fmt.Sprintf("set it: export %s=…", name))
			ok = false
		}
		b.WriteString(value)
		from, s = true, rest
	}
}
