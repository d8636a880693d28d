package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tandem-sync/tandem/fault"
)

// Codes of the API's own refusals.
const (
	CodeUnauthorized = "unauthorized" // no token, or a wrong one
	CodeForbidden    = "forbidden"    // a Host or Origin that is not ours
	CodeTooLarge     = "too_large"    // a body over the limit
	CodeTooMany      = "too_many"     // more requests than one address may make
)

// Problem is an error answer (RFC 9457, application/problem+json) that carries
// the stable code and the hint of the error.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code" doc:"A stable word for programs"`
	Hint   string `json:"hint,omitempty" doc:"The next step, for a person"`
	Where  string `json:"where,omitempty" doc:"The field or place"`
}

// Error is the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus gives the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType makes JSON answers problem+json.
func (p *Problem) ContentType(ct string) string {
	if ct == "application/json" {
		return "application/problem+json"
	}
	return ct
}

// Fault turns the answer back into the error it was made of.
func (p *Problem) Fault() error {
	class := fault.Permanent
	if p.Status >= http.StatusInternalServerError || p.Status == http.StatusTooManyRequests {
		class = fault.Retryable
	}
	code := p.Code
	if code == "" {
		code = fault.CodeFailed
	}
	return fault.New(class, code, "", "%s", p.Detail).WithHint(p.Hint).WithWhere(p.Where)
}

// problem turns an error into an answer. What carries no code is a fault of
// ours: its text may tell too much, so the answer does not.
func problem(err error) *Problem {
	p := &Problem{Detail: err.Error(), Code: fault.CodeOf(err), Hint: fault.HintOf(err), Where: fault.WhereOf(err)}
	switch p.Code {
	case fault.CodeNotFound:
		p.Status = http.StatusNotFound
	case fault.CodeUsage:
		p.Status = http.StatusUnprocessableEntity
	case fault.CodeConfig, fault.CodeConflict, CodeUnsupported:
		p.Status = http.StatusConflict
	case fault.CodeUnreachable, fault.CodeLocked, fault.CodeSchemaOld, fault.CodeSchemaNew:
		p.Status = http.StatusServiceUnavailable
	case "":
		p.Status, p.Code, p.Detail = http.StatusInternalServerError, fault.CodeFailed, "an internal error; the log has it"
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || fault.Of(err) == fault.Retryable {
			p.Status, p.Detail = http.StatusServiceUnavailable, "not possible at the moment; try again"
		}
	default:
		p.Status = http.StatusInternalServerError
		if fault.Of(err) == fault.Retryable { // a full disk, a busy database
			p.Status = http.StatusServiceUnavailable
		}
	}
	p.Title = http.StatusText(p.Status)
	return p
}

// transformProblem gives the router's own errors (validation, size, unknown
// media type) the form of a Problem.
func transformProblem(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := &Problem{Title: m.Title, Status: m.Status, Detail: m.Detail, Code: fault.CodeUsage}
	var where, detail []string
	for _, e := range m.Errors {
		detail = append(detail, strings.TrimSpace(e.Message+" ("+e.Location+")"))
		where = append(where, e.Location)
	}
	if len(detail) > 0 {
		p.Detail, p.Where = strings.Join(detail, "; "), where[0]
	}
	switch {
	case m.Status == http.StatusRequestEntityTooLarge:
		p.Code = CodeTooLarge
	case m.Status >= http.StatusInternalServerError:
		p.Code, p.Detail = fault.CodeFailed, "an internal error; the log has it"
	}
	return p, nil
}

// refuse answers before any route is reached.
func refuse(w http.ResponseWriter, status int, code, detail, hint string) {
	w.Header().Set("Content-Type", "application/problem+json")
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="tandem"`)
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(Problem{
		Title: http.StatusText(status), Status: status, Detail: detail, Code: code, Hint: hint,
	}) // a client that left needs no answer
}
