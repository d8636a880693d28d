package pass_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/pass"
	"github.com/tandem-sync/tandem/sync/record"
)

// canned gives pages that were made before the clock started, so that the pass
// and its database are all that is measured.
type canned struct{ pages [][]record.Record }

func (c *canned) Capabilities() channels.Capabilities { return channels.Capabilities{} }
func (c *canned) Reader(_ context.Context, req channels.ReadRequest) (channels.Reader, error) {
	r := &cannedReader{c: c}
	if req.From != nil {
		n, err := strconv.Atoi(string(req.From))
		r.at = n
		return r, err
	}
	return r, nil
}

type cannedReader struct {
	c  *canned
	at int
}

func (r *cannedReader) Close() error { return nil }
func (r *cannedReader) ReadPage(context.Context) (channels.Page, error) {
	if r.at == len(r.c.pages) {
		return channels.Page{}, io.EOF
	}
	recs := append([]record.Record(nil), r.c.pages[r.at]...)
	for i := range recs {
		recs[i].Values = append([]record.Value(nil), recs[i].Values...)
	}
	r.at++
	return channels.Page{
		Records: recs, Next: json.RawMessage(strconv.Itoa(r.at)), Total: -1, Bytes: 40000,
		FetchStarted: time.Now(), RemoteNow: time.Now(),
	}, nil
}

func benchRecords(n int) *canned {
	c := &canned{}
	for i := 0; i < n; i += 100 {
		page := make([]record.Record, 0, 100)
		for k := i; k < i+100; k++ {
			page = append(page, record.Record{ID: fmt.Sprintf("rec%08d", k), Values: []record.Value{
				record.T(fmt.Sprintf("user%d@example.org", k)), record.T("First" + strconv.Itoa(k)), record.T("Lastname"),
				record.T("+49 30 123456"), record.T("Example Company"), record.N(strconv.Itoa(k % 100)), record.B(k%2 == 0), record.T("1980-02-03"),
			}})
		}
		c.pages = append(c.pages, page)
	}
	return c
}

// BenchmarkFirstSync and its re-sync: one op is one record.
func BenchmarkSync(b *testing.B) {
	for _, again := range []bool{false, true} {
		name := map[bool]string{false: "first", true: "unchanged"}[again]
		b.Run(name+"/sqlite", func(b *testing.B) { benchSync(b, "sqlite:"+b.TempDir()+"/b.db", again) })
		b.Run(name+"/postgres", func(b *testing.B) { benchSync(b, testenv.Postgres(b), again) })
	}
}

func benchSync(b *testing.B, url string, again bool) {
	ctx := b.Context()
	db, err := store.Open(ctx, store.Config{URL: url})
	check(b, err)
	b.Cleanup(func() { check(b, db.Close()) })
	check(b, db.Migrate(ctx))
	id := "id bigint generated always as identity primary key"
	if db.Dialect() == store.SQLite {
		id = "id integer primary key"
	}
	w := &workbench{db: db}
	c := pass.Connector{Name: "contacts", Channel: "crm", Create: true, OnRemoteDelete: pass.DeleteRow}
	check(b, db.Write(ctx, "setup", func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, "CREATE TABLE contacts ("+id+", email text, first_name text, last_name text, phone text, company text, score integer, active boolean, birthday date)")
		if err != nil {
			return err
		}
		if c.ChannelID, _, _, err = tx.PutChannel(ctx, store.Channel{Name: "crm", Type: "canned", Enabled: true, Settings: []byte(`{}`)}); err != nil {
			return err
		}
		conns, err := tx.PutConnectors(ctx, c.ChannelID, []store.Connector{{Name: "contacts"}})
		if err != nil {
			return err
		}
		c.ID = conns[0].ID
		return bindBench(ctx, tx, &c)
	}))
	w.chID, w.connID = c.ChannelID, c.ID
	n := (max(b.N, 2000) + 99) / 100 * 100
	source := benchRecords(n)
	c.Remote = source
	run := func() {
		in := w.beginB(b)
		out, err := (&pass.Direct{DB: db, C: c, Clock: clock.System{}}).Run(ctx, in)
		check(b, err)
		if !out.Done {
			b.Fatal("not done: the budget is too short for this many records")
		}
		w.endB(b, in)
	}
	if again {
		run()
	}
	b.ReportAllocs()
	b.ResetTimer()
	run()
	b.StopTimer()
}

func bindBench(ctx context.Context, tx *store.Tx, c *pass.Connector) error {
	table, err := entities.Introspect(ctx, tx, entities.Spec{Name: "contacts", Table: "contacts"})
	if err != nil {
		return err
	}
	spec := mapping.Spec{Match: [][]string{{"email"}}}
	for _, f := range []string{"email", "first_name", "last_name", "phone", "company", "score", "active", "birthday"} {
		spec.Fields = append(spec.Fields, mapping.Field{Local: f, Remote: f, Direction: mapping.ToLocal})
	}
	m, problems := mapping.Compile(spec, table.Column)
	if len(problems) > 0 {
		return fmt.Errorf("%v", problems)
	}
	c.Manual = m
	c.Local, err = table.Bind(m, "", nil)
	return err
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (w *workbench) beginB(b *testing.B) (in pass.Input) {
	b.Helper()
	in.TTL = time.Minute
	check(b, w.db.Write(b.Context(), "begin", func(ctx context.Context, tx *store.Tx) error {
		run, _, _, err := tx.AddRequest(ctx, store.Request{ChannelID: w.chID, Trigger: store.TriggerManual, Spec: store.Spec{Kind: store.KindSync, Mode: store.ModeFull}}, false)
		if err != nil {
			return err
		}
		if _, err := tx.StartRun(ctx, run.ID, []store.Slice{{ConnectorID: w.connID}}); err != nil {
			return err
		}
		if in.Run, err = tx.Run(ctx, run.ID); err != nil {
			return err
		}
		slices, err := tx.Slices(ctx, run.ID)
		if err != nil {
			return err
		}
		in.Slice = slices[0]
		in.Lease, err = w.lease(ctx, tx)
		return err
	}))
	return in
}

func (w *workbench) endB(b *testing.B, in pass.Input) {
	b.Helper()
	check(b, w.db.Write(b.Context(), "end", func(ctx context.Context, tx *store.Tx) error {
		if err := tx.ReleaseLease(ctx, in.Lease); err != nil {
			return err
		}
		_, err := tx.FinishRun(ctx, in.Run.ID, store.StatusFinished, nil)
		return err
	}))
}
