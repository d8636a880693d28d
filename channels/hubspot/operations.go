package hubspot

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/transport"
)

// operation is something that can be asked of an account beside syncing it. All
// of them only read.
type operation struct {
	name, summary string
	params        []channels.OperationParam
	call          func(params map[string]string) (transport.Request, error)
}

// operations are those of every channel, in order of name.
var operations = []operation{
	{
		name: "account", summary: "The account: its number, time zone, currency and where its data is kept",
		call: at(accountPath),
	},
	{
		name: "contact", summary: "One contact by its id or e-mail address, as HubSpot shows it",
		params: []channels.OperationParam{{Name: "id"}, {Name: "email"}, {Name: "properties"}, {Name: "history"}},
		call:   contactCall,
	},
	{
		name: "properties", summary: "The properties contacts have: what `remote:` of a mapping can name",
		call: at("/crm/v3/properties/contacts"),
	},
	{
		name: "usage", summary: "How many calls private apps have made today, of how many, and when the day ends",
		call: at("/account-info/v3/api-usage/daily/private-apps"),
	},
}

const accountPath = "/account-info/v3/details"

// at is a call without parameters.
func at(path string) func(map[string]string) (transport.Request, error) {
	return func(map[string]string) (transport.Request, error) { return get("", path, nil), nil }
}

func contactCall(params map[string]string) (transport.Request, error) {
	id, email := params["id"], params["email"]
	usage := func(format string, args ...any) (transport.Request, error) {
		return transport.Request{}, fault.New(fault.Permanent, fault.CodeUsage, "operation contact", format, args...).
			WithHint("give --param id=NUMBER or --param email=ADDRESS")
	}
	q := url.Values{}
	switch {
	case (id == "") == (email == ""):
		return usage("it needs either id or email")
	case email != "":
		id = email
		q.Set("idProperty", "email")
	case !numeric(id):
		return usage("the id %q is no number", id)
	}
	for param, name := range map[string]string{"properties": "properties", "history": "propertiesWithHistory"} {
		if v := params[param]; v != "" {
			q.Set(name, v)
		}
	}
	return get("", contactsPath+"/"+url.PathEscape(id), q), nil
}

// Operations lists what can be called, in order of name.
func (c *Channel) Operations() []channels.Operation {
	out := make([]channels.Operation, len(operations))
	for i, o := range operations {
		out[i] = channels.Operation{Name: o.name, Summary: o.summary, Method: http.MethodGet, Repeats: true, Params: slices.Clone(o.params)}
		if out[i].Params == nil {
			out[i].Params = []channels.OperationParam{}
		}
	}
	return out
}

// Call asks HubSpot and gives its answer as it is.
func (c *Channel) Call(ctx context.Context, name string, params map[string]string) (json.RawMessage, error) {
	i := slices.IndexFunc(operations, func(o operation) bool { return o.name == name })
	if i < 0 {
		_, err := channels.FindOperation(c.Operations(), name)
		return nil, err
	}
	k, err := operations[i].call(params)
	if err != nil {
		return nil, err
	}
	k.Op = "hubspot: call " + name
	got, err := c.client.do(ctx, k)
	if err != nil {
		return nil, err
	}
	// An answer that repeats what it was sent must not tell the token.
	if body := c.Redact(string(got.Body)); json.Valid([]byte(body)) {
		return json.RawMessage(strings.TrimSpace(body)), nil
	}
	return nil, notJSON(k.Op, got)
}

func operationNames() []string {
	names := make([]string, len(operations))
	for i, o := range operations {
		names[i] = o.name
	}
	return names
}
