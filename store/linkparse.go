package store

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

var errHeads = errors.New("the list of links cannot be read")

// parseHeads reads "n id hash state length key" of each link, separated by
// spaces: n is the place of its remote id in ids, from 1, and length the
// number of characters of key, which may hold anything. The keys share text's
// memory.
func parseHeads(text string, ids []string) ([]LinkHead, error) {
	out := make([]LinkHead, 0, len(ids))
	for text != "" {
		var numbers [5]int64
		for i := range numbers {
			word, rest, ok := strings.Cut(text, " ")
			if !ok {
				return nil, errHeads
			}
			n, err := strconv.ParseInt(word, 10, 64)
			if err != nil {
				return nil, errHeads
			}
			numbers[i], text = n, rest
		}
		at, size := numbers[0]-1, prefixLen(text, numbers[4])
		if at < 0 || at >= int64(len(ids)) || size < 0 {
			return nil, errHeads
		}
		out = append(out, LinkHead{RemoteID: ids[at], ID: numbers[1], Hash: numbers[2], State: LinkState(numbers[3]), LocalKey: text[:size]}) // #nosec G115 -- a smallint
		text = strings.TrimPrefix(text[size:], " ")
	}
	return out, nil
}

// prefixLen is the number of bytes of the first n characters, -1 when there
// are fewer.
func prefixLen(s string, n int64) int {
	size := 0
	for range n {
		if size >= len(s) {
			return -1
		}
		_, w := utf8.DecodeRuneInString(s[size:])
		size += w
	}
	return size
}
