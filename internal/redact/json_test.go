package redact_test

import (
	"encoding/json"
	"testing"

	"github.com/tandem-sync/tandem/internal/redact"
)

func TestJSON(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"name":"Ada","n":12345678901234567890}`:            `{"name":"Ada","n":12345678901234567890}`,
		`{"password":"hunter2","n":1.50}`:                    `{"password":"***","n":1.50}`,
		`{"a":[{"apiToken":{"deep":"x"}},{"Token-Id":7}]}`:   `{"a":[{"apiToken":"***"},{"Token-Id":"***"}]}`,
		`{"headers":{"Authorization":"Bearer x","Via":"y"}}`: `{"headers":{"Authorization":"***","Via":"y"}}`,
		`{"client_secret":null,"token":""}`:                  `{"client_secret":null,"token":""}`,
		`{"pass\u0077ord":"x"}`:                              `{"password":"***"}`,
		`["token","secret"]`:                                 `["token","secret"]`,
		`{"x":"the token is abc"}`:                           `{"x":"the token is abc"}`,
		`{"secret":tr`:                                       `{"secret":tr`,
		`"password"`:                                         `"password"`,
	} {
		if got := redact.JSON(json.RawMessage(in)); string(got) != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
	if got := redact.JSON(nil); got != nil {
		t.Errorf("nil: %q", got)
	}
}
