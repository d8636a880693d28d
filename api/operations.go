package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// OperationResult is what a called operation answered.
type OperationResult struct {
	Channel   string          `json:"channel"`
	Operation string          `json:"operation"`
	Answer    json.RawMessage `json:"answer" doc:"The answer of the remote as JSON; null when it is empty"`
}

// Operator is a Fleet that can call operations.
type Operator interface {
	Operations(ctx context.Context, channel string) ([]channels.Operation, error)
	Call(ctx context.Context, channel, operation string, params map[string]string) (json.RawMessage, error)
}

// CallOperation calls an operation of a channel.
func (s *Service) CallOperation(ctx context.Context, channel, operation string, params map[string]string) (OperationResult, error) {
	err := s.read(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := findChannel(ctx, tx, channel)
		return err
	})
	if err != nil {
		return OperationResult{}, err
	}
	who, ok := s.fleet.(Operator)
	if !ok {
		return OperationResult{}, fault.New(fault.Permanent, fault.CodeUnreachable, "", "no worker in this process to call the remote with")
	}
	answer, err := who.Call(ctx, channel, operation, params)
	if err == nil && len(answer) == 0 {
		answer = json.RawMessage("null")
	}
	return OperationResult{Channel: channel, Operation: operation, Answer: answer}, err
}

// operations lists a channel's operations. One that cannot be opened now can
// still be looked at.
func (s *Service) operations(ctx context.Context, channel string) []channels.Operation {
	out := []channels.Operation{}
	who, ok := s.fleet.(Operator)
	if !ok {
		return out
	}
	list, err := who.Operations(ctx, channel)
	if err != nil {
		return out
	}
	return append(out, list...)
}

type callInput struct {
	Name string `path:"name" doc:"Name of the channel"`
	Op   string `path:"op" doc:"Name of the operation"`
	Body *struct {
		Params map[string]string `json:"params,omitempty" doc:"Values by name of the parameter"`
	} `required:"false"`
}

func (s *Server) operationRoutes(h huma.API) {
	huma.Register(h, op("call-operation", http.MethodPost, "/channels/{name}/operations/{op}",
		"Call an operation of a channel; it is no run and never part of a sync",
		http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusBadGateway, http.StatusServiceUnavailable),
		func(ctx context.Context, in *callInput) (*body[OperationResult], error) {
			var params map[string]string
			if in.Body != nil {
				params = in.Body.Params
			}
			r, err := s.cfg.Backend.CallOperation(ctx, in.Name, in.Op, params)
			if err != nil {
				if p := problem(err); gateway(p) {
					return nil, p // the remote's failure, and no matter for our log
				}
				return nil, s.fail(ctx, err)
			}
			return &body[OperationResult]{r}, nil
		})
}

// gateway gives a failure of the remote a status that says whose it is, and
// reports whether it is one.
func gateway(p *Problem) bool {
	if p.Status != http.StatusInternalServerError || p.Code == fault.CodeFailed {
		return false
	}
	p.Status = http.StatusBadGateway
	if p.Code == "rate_limit" || p.Code == "breaker_open" || p.Code == "daily_limit" {
		p.Status = http.StatusServiceUnavailable
	}
	p.Title = http.StatusText(p.Status)
	return true
}
