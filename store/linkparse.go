package store

import (
	"errors"
	"strconv"
	"strings"
)

var errHeads = errors.New("the list of links cannot be read")

// parseHeads reads "n id hash state length key" of each link, separated by
// spaces: n is the place of its remote id in ids, from 1, and length the
// number of bytes of key, which may hold anything. The keys share text's
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
		at, size := numbers[0]-1, numbers[4]
		if at < 0 || at >= int64(len(ids)) || size < 0 || size > int64(len(text)) {
			return nil, errHeads
		}
		out = append(out, LinkHead{RemoteID: ids[at], ID: numbers[1], Hash: numbers[2], State: LinkState(numbers[3]), LocalKey: text[:size]}) // #nosec G115 -- a smallint
		text = strings.TrimPrefix(text[size:], " ")
	}
	return out, nil
}

// parseNumbers reads numbers separated by spaces.
func parseNumbers(text string) ([]uint64, error) {
	if text == "" {
		return nil, nil
	}
	out := make([]uint64, 0, strings.Count(text, " ")+1)
	for word := range strings.SplitSeq(text, " ") {
		n, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			return nil, errHeads
		}
		out = append(out, n)
	}
	return out, nil
}
