package mapping

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/tandem-sync/tandem/sync/record"
)

// Identity gives the normalised identity of alternative alt of Match: equal
// strings mean the same thing. Text is trimmed, case-folded and brought to NFC;
// other types are canonical already. It is false when a part is empty, for an
// empty value identifies nothing.
func (m *Manual) Identity(alt int, local []record.Value) (string, bool) {
	return m.identity(alt, local, m.identityPart)
}

// identity joins the parts of an alternative, each as part gives it.
func (m *Manual) identity(alt int, vals []record.Value, part func(int, record.Value) string) (string, bool) {
	parts := m.match[alt]
	if len(parts) == 1 {
		s := part(parts[0], vals[parts[0]])
		return s, s != ""
	}
	var b strings.Builder
	for n, i := range parts {
		s := part(i, vals[i])
		if s == "" {
			return "", false
		}
		if n > 0 {
			b.WriteByte(0) // text holds no NUL, so parts cannot run together
		}
		b.WriteString(s)
	}
	return b.String(), true
}

func (m *Manual) identityPart(i int, v record.Value) string {
	if v.Kind <= record.Null {
		return ""
	}
	if !m.plans[i].kind.textual() {
		return v.Text
	}
	return foldText(v.Text)
}

// foldText is canonical caseless matching of Unicode (definition D145), in NFC.
func foldText(s string) string {
	s = strings.TrimSpace(s)
	upper := false
	for i := range len(s) {
		c := s[i]
		if c >= 0x80 {
			folded := cases.Fold().String(norm.NFD.String(s))
			return strings.TrimSpace(norm.NFC.String(strings.Map(settleCherokee, folded)))
		}
		upper = upper || c >= 'A' && c <= 'Z'
	}
	if upper {
		return strings.ToLower(s)
	}
	return s
}

// settleCherokee gives the capital of a Cherokee letter, which is what Unicode
// folds to; the library folds each case to the other one.
func settleCherokee(r rune) rune {
	if unicode.Is(unicode.Cherokee, r) {
		return unicode.ToUpper(r)
	}
	return r
}
