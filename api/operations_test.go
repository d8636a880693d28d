package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// caller notes the calls of operations and answers them.
type caller struct {
	channel, op string
	params      map[string]string
	answer      string
	err         error
}

func (f *fleet) Operations(context.Context, string) ([]channels.Operation, error) {
	return []channels.Operation{{Name: "ping", Method: "GET", Repeats: true, Params: []channels.OperationParam{{Name: "n", Type: "number"}}}}, f.caller.err
}

func (f *fleet) Call(_ context.Context, channel, op string, params map[string]string) (json.RawMessage, error) {
	c := &f.caller
	c.channel, c.op, c.params = channel, op, params
	return json.RawMessage(c.answer), c.err
}

func TestCallOperation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := &w.fleet.caller
	c.answer = `{"id":12345678901234567890}`
	var got api.OperationResult
	w.want(http.StatusOK, http.MethodPost, "/api/v1/channels/crm/operations/ping", `{"params":{"n":"1"}}`, &got)
	if string(got.Answer) != c.answer || got.Channel != "crm" || got.Operation != "ping" || c.params["n"] != "1" || c.op != "ping" {
		t.Errorf("%+v, called with %+v", got, c)
	}
	c.answer = ""
	w.want(http.StatusOK, http.MethodPost, "/api/v1/channels/crm/operations/ping", "", &got)
	if string(got.Answer) != "null" || c.params != nil {
		t.Errorf("%s, called with %v", got.Answer, c.params)
	}
	for _, body := range []string{`{"params":{"n":1}}`, `{"params":["n"]}`, `{"parms":{}}`, `[`} {
		c.op = ""
		status, _, _ := w.request(http.MethodPost, "/api/v1/channels/crm/operations/ping", body)
		if status < 400 || status > 422 || c.op != "" {
			t.Errorf("%s: %d, called %q", body, status, c.op)
		}
	}
	for code, status := range map[string]int{
		fault.CodeNotFound: 404, fault.CodeUsage: 422, fault.CodeConflict: 409, fault.CodeAuth: 502, "refused": 502, "remote_not_found": 502,
		"remote_unreachable": 502, fault.CodeBadAnswer: 502, "reauthorise": 502, "rate_limit": 503, "breaker_open": 503, "": 500,
	} {
		c.err = fault.New(fault.Permanent, code, "call", "no")
		if got, _, body := w.request(http.MethodPost, "/api/v1/channels/crm/operations/ping", ""); got != status {
			t.Errorf("%s: status %d, want %d: %s", code, got, status, body)
		}
	}
	w.problem(http.StatusNotFound, http.MethodPost, "/api/v1/channels/nope/operations/ping", "")
}

func TestChannelShowsItsOperationsBreakerAndProblem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := &w.fleet.caller
	var d api.ChannelDetail
	w.want(http.StatusOK, http.MethodGet, "/api/v1/channels/crm", "", &d)
	if len(d.Operations) != 1 || d.Operations[0].Name != "ping" || d.Breaker.State != store.BreakerClosed || d.Problem != "" {
		t.Errorf("%+v", d)
	}
	w.write(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.SetBreaker(ctx, w.crm, time.Hour, "503"); err != nil {
			return err
		}
		if _, err := tx.BeginToken(ctx, w.crm, 0, "me", time.Minute, true); err != nil {
			return err
		}
		_, err := tx.EndToken(ctx, w.crm, 0, "me", store.TokenEnd{Problem: "authorise again"})
		return err
	})
	c.err = fault.New(fault.Permanent, fault.CodeConfig, "", "cannot be opened")
	w.want(http.StatusOK, http.MethodGet, "/api/v1/channels/crm", "", &d)
	if d.Operations == nil || len(d.Operations) != 0 || d.Breaker.State != store.BreakerOpen || d.Breaker.Until == nil || d.Breaker.Reason != "503" || d.Problem != "authorise again" {
		t.Errorf("%+v", d)
	}
}

func TestOperationsNeedAWorker(t *testing.T) {
	t.Parallel()
	alone := api.NewService(newWorld(t).db, nil, nil)
	if _, err := alone.CallOperation(t.Context(), "crm", "ping", nil); fault.CodeOf(err) != fault.CodeUnreachable {
		t.Error(err)
	}
	if d, err := alone.Channel(t.Context(), "crm"); err != nil || d.Operations == nil {
		t.Errorf("%+v %v", d, err)
	}
}
