package redact_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/internal/redact"
)

func TestSecretNeverPrints(t *testing.T) {
	t.Parallel()
	s := redact.Secret("hunter2hunter2")
	held := struct{ Token redact.Secret }{s}
	j, err := json.Marshal(held)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{
		fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", held, held, held, s, s), string(j),
	} {
		if strings.Contains(got, "hunter2") {
			t.Errorf("printed the secret: %s", got)
		}
	}
	if got := redact.Secret("").String(); got != "" {
		t.Errorf("an empty secret prints %q", got)
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"https://u:pw@api.example.com:8443/v1/x?api_key=abc&page=2&page=3#frag", "https://api.example.com:8443/v1/x?api_key=***&page=***"},
		{"https://api.example.com", "https://api.example.com"},
		{"/a%2Fb?token", "/a%2Fb?token=***"},
		{"amqp://u:p%zz@h/", "(an address that cannot be parsed)"},
	}
	for _, tt := range tests {
		if got := redact.URLText(tt.in); got != tt.want {
			t.Errorf("URLText(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
	if got := redact.URL(nil); got != "" {
		t.Errorf("URL(nil) = %q", got)
	}
}

func TestMasker(t *testing.T) {
	t.Parallel()
	const secret = "pa ss/wörd+1"
	m := redact.NewMasker(secret, "abc")
	for _, form := range []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret)),
	} {
		if got := m.Text("before " + form + " after"); got != "before *** after" {
			t.Errorf("%q became %q", form, got)
		}
	}
	if got := m.Text("abc stays"); got != "abc stays" {
		t.Errorf("a short secret was replaced: %q", got)
	}
	if got := (redact.Masker{}).Text("same"); got != "same" {
		t.Errorf("zero masker changed the text: %q", got)
	}
}
