package client_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"testing"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/client"
)

// operator is a backend that answers operations.
type operator struct {
	api.Backend
	params map[string]string
	fail   error
}

func (o *operator) CallOperation(_ context.Context, channel, operation string, params map[string]string) (api.OperationResult, error) {
	o.params = params
	return api.OperationResult{Channel: channel, Operation: operation, Answer: json.RawMessage(`{"n":12345678901234567890}`)}, o.fail
}

func TestOperationsArriveAsTheyWereCalled(t *testing.T) {
	t.Parallel()
	o := &operator{}
	srv := httptest.NewServer(api.NewServer(api.ServerConfig{Backend: o, Token: "t", Loopback: true}).Handler())
	defer srv.Close()
	c, err := client.New(srv.URL, "t", "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := c.CallOperation(t.Context(), "a/b", "find?x", map[string]string{"q": "1=2&3", "": "empty"})
	if err != nil || got.Channel != "a/b" || got.Operation != "find?x" || string(got.Answer) != `{"n":12345678901234567890}` {
		t.Errorf("%+v %v", got, err)
	}
	if len(o.params) != 2 || o.params["q"] != "1=2&3" {
		t.Errorf("arrived: %v", o.params)
	}
	o.fail = fault.New(fault.Permanent, "remote_not_found", "", "404").WithHint("look there")
	if _, err := c.CallOperation(t.Context(), "a", "b", nil); fault.CodeOf(err) != "remote_not_found" || fault.HintOf(err) != "look there" {
		t.Error(err)
	}
	for _, name := range []string{"", ".", ".."} {
		if _, err := c.CallOperation(t.Context(), "a", name, nil); fault.CodeOf(err) != fault.CodeNotFound {
			t.Errorf("%q: %v", name, err)
		}
	}
}
