package workers

import (
	"context"
	"errors"
	"io"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// TestStage is one step of testing a channel. After a failed stage the later
// ones are left out.
type TestStage struct {
	Stage string `json:"stage"` // "name", "connect", "tls", "auth", "scope CONNECTOR", "record CONNECTOR", "clock", "quota"
	OK    bool   `json:"ok"`
	// Warn says that the stage passed and something about it should be looked at.
	Warn    bool   `json:"warn,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// TestChannel tries a stored channel step by step and reads one record per
// connector. It writes nothing. The error is about the channel's name or
// configuration; what the remote does wrong is in the stages.
func (f *Fleet) TestChannel(ctx context.Context, name string) ([]TestStage, error) {
	return TestChannel(ctx, f.cfg, name)
}

// TestChannel is Fleet.TestChannel without a fleet.
func TestChannel(ctx context.Context, cfg Config, name string) ([]TestStage, error) {
	cfg.setDefaults()
	var ch store.Channel
	err := cfg.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		ch, err = tx.ChannelByName(ctx, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	o := newOpener(cfg)
	defer o.Close()
	op, err := o.channel(ctx, ch.ID, ch.Revision)
	if err != nil {
		return nil, err
	}
	return testOpened(ctx, cfg.Clock, op), nil
}

func testOpened(ctx context.Context, clk clock.Clock, op *opened) []TestStage {
	var out []TestStage
	if s, ok := op.channel.(channels.Stager); ok {
		for _, st := range s.Stages(ctx) {
			out = append(out, stageOf(st.Name, st.Message, st.Err))
			if st.Err != nil {
				return out
			}
		}
	}
	out = append(out, stageOf("auth", "the remote answers with these credentials", op.channel.Ping(ctx)))
	if !out[len(out)-1].OK {
		return out
	}
	var at dated
	for i := range op.config.Connectors {
		cc := &op.config.Connectors[i]
		msg, err := readOne(ctx, clk, op.channel, cc.Name, paths(cc.Mapping), &at)
		name := "record "
		if fault.CodeOf(err) == fault.CodeAuth {
			name = "scope " // signed in, and not allowed to read this
		}
		out = append(out, stageOf(name+cc.Name, msg, err))
	}
	if len(op.config.Connectors) > 0 {
		out = append(out, clockStage(at))
	}
	if q := quotaStage(op.channel); q != nil {
		out = append(out, *q)
	}
	return out
}

func stageOf(name, message string, err error) TestStage {
	if err != nil {
		return TestStage{Stage: name, Message: err.Error(), Hint: fault.HintOf(err)}
	}
	return TestStage{Stage: name, OK: true, Message: message}
}

// readOne reads the first page of a connector, says what was in it and notes
// the time of the answer.
func readOne(ctx context.Context, clk clock.Clock, ch channels.Channel, name string, fields []string, at *dated) (string, error) {
	conn, err := ch.Connector(name)
	if err != nil {
		return "", err
	}
	r, err := conn.Reader(ctx, channels.ReadRequest{Fields: fields})
	if err != nil {
		return "", err
	}
	defer r.Close() //nolint:errcheck // one page was all we wanted
	page, err := r.ReadPage(ctx)
	if err == nil && !page.RemoteNow.IsZero() {
		*at = dated{remote: page.RemoteNow, asked: page.FetchStarted, arrived: clk.Now()}
	}
	switch {
	case errors.Is(err, io.EOF) || err == nil && len(page.Records) == 0:
		return "the listing is empty", nil
	case err != nil:
		return "", err
	}
	return describe(page.Records[0], fields)
}

// describe names the mapped fields that the first record has and lacks.
func describe(r record.Record, fields []string) (string, error) {
	if r.Err != nil {
		return "", r.Err
	}
	missing := ""
	for i, v := range r.Values {
		if !v.Has() {
			missing += " " + fields[i]
		}
	}
	if missing != "" {
		return "read record " + r.ID + "; it has no field" + missing, nil
	}
	return "read record " + r.ID + " with every mapped field", nil
}

func paths(fields []mapping.Field) []string {
	out := make([]string, len(fields))
	for i := range fields {
		out[i] = fields[i].Remote
	}
	return out
}
