package web

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"

	"github.com/tandem-sync/tandem/fault"
)

func usage(format string, args ...any) error {
	return fault.New(fault.Permanent, fault.CodeUsage, "", format, args...)
}

// badForm keeps the error of a body that is too large apart from others.
func badForm(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	return usage("the form cannot be read")
}

func runPath(id int64) string { return "/runs/" + strconv.FormatInt(id, 10) }

// pathID gives the number in the address.
func pathID(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id < 1 {
		return 0, fault.New(fault.Permanent, fault.CodeNotFound, "", "%q is no number of anything", r.PathValue("id"))
	}
	return id, nil
}

// number64 reads a number of the query; "" is 0.
func number64(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, usage("%q is no number", s)
	}
	return n, nil
}

// older gives the address of the page that follows; "" at the end.
func older(path string, q url.Values, next *int64) string {
	if next == nil {
		return ""
	}
	q.Set("before", strconv.FormatInt(*next, 10))
	return path + "?" + q.Encode()
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9._/-]+$`)

// shell quotes a name for a command line that is shown to be copied.
func shell(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	out := "'"
	for _, r := range s {
		if r == '\'' {
			out += `'\''`
			continue
		}
		out += string(r)
	}
	return out + "'"
}
