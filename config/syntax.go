package config

import (
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxSearch bounds the text in which the place of a syntax error is searched.
const maxSearch = 64 << 10

var (
	yamlLine      = regexp.MustCompile(`^yaml: line (\d+): `)
	unknownAnchor = regexp.MustCompile(`unknown anchor '([^']*)' referenced`)
)

// syntax reports a text that is no YAML. The parser names the line where the
// surrounding block began; a person needs the line that broke it, which is the
// one after the longest beginning of the text that is YAML.
func (d *decoder) syntax(text string, err error) {
	message := showBraces(err.Error())
	line := 1
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
	}
	message = strings.TrimPrefix(yamlLine.ReplaceAllString(message, ""), "yaml: ")
	lines := strings.SplitAfter(text, "\n")
	if m := unknownAnchor.FindStringSubmatch(message); m != nil {
		line = lineOf(lines, "*"+m[1], line)
	} else if len(text) <= maxSearch {
		line = brokenLine(lines)
	}
	line = min(line, len(lines))
	at := lines[line-1]
	column := 1 + len(at) - len(strings.TrimLeft(at, " \t"))
	d.report(line, column, "", "is no YAML: "+message, syntaxFix(message, at))
}

// brokenLine gives the line after the longest run of lines that parses. The
// search starts at the end, for the text before an error is mostly good.
func brokenLine(lines []string) int {
	for n := len(lines) - 1; n > 0; n-- {
		var doc yaml.Node
		if yaml.Unmarshal([]byte(strings.Join(lines[:n], "")), &doc) == nil {
			return n + 1
		}
	}
	return 1
}

// lineOf gives the first line that holds part.
func lineOf(lines []string, part string, otherwise int) int {
	for i, l := range lines {
		if strings.Contains(l, part) {
			return i + 1
		}
	}
	return otherwise
}

func syntaxFix(message, line string) string {
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	switch {
	case strings.Contains(indent, "\t"):
		return "indent with blanks, not with tabs"
	case strings.Contains(message, "unknown anchor"):
		return "define the anchor before it is used, or quote a text that begins with *"
	case strings.Contains(message, "cannot start any token"):
		return "put the value in quotes"
	case strings.Contains(message, "mapping values are not allowed"):
		return "put a value that holds a colon in quotes, and check the indentation"
	}
	return "check this line's indentation, colons, quotes and brackets"
}
