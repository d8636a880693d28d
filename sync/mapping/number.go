package mapping

import (
	"strconv"
	"strings"
)

// maxPlain is the longest number in digits that is written without an exponent.
const maxPlain = 40

// maxExponent bounds the exponent of a number: what is beyond is no quantity
// that a database takes.
const maxExponent = 10000

// maxNumber bounds the text of a number in bytes.
const maxNumber = 2000

// canonDecimal gives the one spelling of a decimal number: no sign for zero and
// plus, no leading or trailing zeros, no exponent up to 40 digits. The quantity
// stays exact. It returns s itself, without allocating, when s is that spelling.
func canonDecimal(s string) (string, bool) {
	if plainDecimal(s) {
		return s, true
	}
	return slowDecimal(s)
}

// canonInteger is canonDecimal for whole numbers; "1.0" and "1e3" are whole.
func canonInteger(s string) (string, bool) {
	c, ok := canonDecimal(s)
	if !ok || strings.IndexByte(c, '.') >= 0 && strings.IndexByte(c, 'e') < 0 {
		return "", false
	}
	if i := strings.IndexByte(c, 'e'); i >= 0 && !wholeScientific(c, i) {
		return "", false
	}
	return c, true
}

// wholeScientific reports whether the canonical scientific number c, with its
// exponent mark at i, is whole.
func wholeScientific(c string, i int) bool {
	exp, err := strconv.Atoi(c[i+1:])
	frac := 0
	if dot := strings.IndexByte(c, '.'); dot >= 0 {
		frac = i - dot - 1
	}
	return err == nil && exp >= frac
}

// plainDecimal reports whether s is canonical already and needs no exponent.
func plainDecimal(s string) bool {
	i := 0
	if len(s) > 0 && s[0] == '-' {
		i = 1
	}
	start := i
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	if i == start || s[start] == '0' && i-start > 1 {
		return false
	}
	if i == len(s) {
		return i-start <= maxPlain && s != "-0"
	}
	if s[i] != '.' {
		return false
	}
	frac := i + 1
	i = frac
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return i == len(s) && i > frac && s[i-1] != '0' && i-start-1 <= maxPlain
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// slowDecimal reads every spelling of a number and writes the canonical one.
func slowDecimal(s string) (string, bool) {
	neg, digits, exp, ok := readDecimal(s)
	if !ok {
		return "", false
	}
	lead := len(digits) - len(strings.TrimLeft(digits, "0"))
	digits = digits[lead:]
	trimmed := strings.TrimRight(digits, "0")
	exp += len(digits) - len(trimmed)
	digits = trimmed
	if digits == "" {
		return "0", true
	}
	if top := exp + len(digits); top > maxExponent || top < -maxExponent {
		return "", false
	}
	return writeDecimal(neg, digits, exp), true
}

// readDecimal takes s apart: the number is digits × 10^exp.
func readDecimal(s string) (neg bool, digits string, exp int, ok bool) {
	s = strings.TrimSpace(s)
	if len(s) > maxNumber {
		return false, "", 0, false
	}
	if s != "" && (s[0] == '-' || s[0] == '+') {
		neg, s = s[0] == '-', s[1:]
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		e, err := strconv.Atoi(s[i+1:])
		if err != nil || e > 10*maxExponent || e < -10*maxExponent {
			return false, "", 0, false
		}
		exp, s = e, s[:i]
	}
	whole, frac, dotted := strings.Cut(s, ".")
	if whole == "" && frac == "" || dotted && frac == "" && whole == "" {
		return false, "", 0, false
	}
	digits = whole + frac
	for i := range len(digits) {
		if !isDigit(digits[i]) {
			return false, "", 0, false
		}
	}
	return neg, digits, exp - len(frac), true
}

// writeDecimal writes digits × 10^exp; digits has no zeros at its ends.
func writeDecimal(neg bool, digits string, exp int) string {
	var b strings.Builder
	if neg {
		b.WriteByte('-')
	}
	point := len(digits) + exp // digits before the decimal point
	switch {
	case max(point, 1)+max(-exp, 0) > maxPlain:
		b.WriteByte(digits[0])
		if len(digits) > 1 {
			b.WriteByte('.')
			b.WriteString(digits[1:])
		}
		b.WriteByte('e')
		b.WriteString(strconv.Itoa(point - 1))
	case exp >= 0:
		b.WriteString(digits)
		b.WriteString(strings.Repeat("0", exp))
	case point > 0:
		b.WriteString(digits[:point])
		b.WriteByte('.')
		b.WriteString(digits[point:])
	default:
		b.WriteString("0.")
		b.WriteString(strings.Repeat("0", -point))
		b.WriteString(digits)
	}
	return b.String()
}
