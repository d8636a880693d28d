package workers

import (
	"context"
	"encoding/json"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// Operations lists what can be called on a channel, in order of name; a type
// without operations has none.
func (f *Fleet) Operations(ctx context.Context, channel string) ([]channels.Operation, error) {
	return operations(ctx, f.opener, channel)
}

// Call calls an operation of a channel under the limits of this process. It is no
// run and changes nothing here. An unknown name is an error with code not_found,
// bad parameters one with code usage.
func (f *Fleet) Call(ctx context.Context, channel, operation string, params map[string]string) (json.RawMessage, error) {
	return call(ctx, f.opener, channel, operation, params)
}

// Operations is Fleet.Operations without a fleet.
func Operations(ctx context.Context, cfg Config, channel string) ([]channels.Operation, error) {
	cfg.setDefaults()
	o := newOpener(cfg)
	defer o.Close()
	return operations(ctx, o, channel)
}

// Call is Fleet.Call without a fleet.
func Call(ctx context.Context, cfg Config, channel, operation string, params map[string]string) (json.RawMessage, error) {
	cfg.setDefaults()
	o := newOpener(cfg)
	defer o.Close()
	return call(ctx, o, channel, operation, params)
}

// named opens a channel as it is configured now.
func (o *Opener) named(ctx context.Context, name string) (*opened, store.Channel, error) {
	var ch store.Channel
	err := o.cfg.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		ch, err = tx.ChannelByName(ctx, name)
		return err
	})
	if err != nil {
		return nil, ch, err
	}
	op, err := o.channel(ctx, ch.ID, ch.Revision)
	return op, ch, err
}

func operations(ctx context.Context, o *Opener, channel string) ([]channels.Operation, error) {
	op, _, err := o.named(ctx, channel)
	if err != nil {
		return nil, err
	}
	if who, ok := op.channel.(channels.Operator); ok {
		return who.Operations(), nil
	}
	return nil, nil
}

func call(ctx context.Context, o *Opener, channel, operation string, params map[string]string) (json.RawMessage, error) {
	op, ch, err := o.named(ctx, channel)
	if err != nil {
		return nil, err
	}
	who, ok := op.channel.(channels.Operator)
	if !ok {
		return nil, fault.New(fault.Permanent, fault.CodeNotFound, "", "channel %q is of type %s, which has no operations", channel, ch.Type)
	}
	decl, err := channels.FindOperation(who.Operations(), operation)
	if err != nil {
		return nil, err
	}
	if !ch.Enabled {
		return nil, fault.New(fault.Permanent, fault.CodeConflict, "", "channel %q is disabled", channel).WithHint("tandem channels enable " + channel)
	}
	filled, err := decl.Fill(params)
	if err != nil {
		return nil, err
	}
	answer, err := who.Call(ctx, operation, filled)
	return answer, remoteFailed(err)
}

// remoteFailed keeps what the remote does not have, or that it is not there, apart
// from an unknown name and from a service of ours.
func remoteFailed(err error) error {
	switch code := fault.CodeOf(err); code {
	case fault.CodeNotFound, fault.CodeUnreachable:
		return (&fault.Error{Class: fault.Of(err), Code: "remote_" + code, Err: err}).WithHint(fault.HintOf(err)).After(fault.RetryAfterOf(err))
	}
	return err
}
