package web_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/explain"
	"github.com/tandem-sync/tandem/sync/resolve"
	"github.com/tandem-sync/tandem/sync/undo"
)

func disputed(channel, connector int64, field string) store.Conflict {
	value, _ := json.Marshal(evil) // a text always can be
	return store.Conflict{
		ChannelID: channel, ConnectorID: connector, Connector: "contacts", LocalKey: "7", RemoteID: evil, Field: field,
		Local: json.RawMessage(`"ours"`), Remote: value, RunID: 1,
	}
}

// ExplainRecord explains a record with evil texts.
func (fleet) ExplainRecord(_ context.Context, channel, connector string, q explain.Query) (explain.Record, error) {
	value, _ := json.Marshal(evil) // a text always can be
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	return explain.Record{
		Channel: channel, Connector: connector, LocalID: q.LocalID, RemoteID: evil, Link: &explain.Link{State: "linked", Aliases: []string{evil}, Version: evil},
		Local: explain.Side{Exists: true}, Remote: explain.Side{Problem: "connection refused " + evil},
		Fields: []explain.Field{{
			Local: "email", Remote: evil, Direction: "both", LocalValue: json.RawMessage(`"ours"`), RemoteValue: value, BaseLocal: json.RawMessage(`null`),
			Now: &explain.Verdict{Winner: "unresolved", Reason: "manual"}, Last: &explain.Last{Winner: "remote", Reason: "newest", Side: "local", At: &at, Run: 2},
		}},
		Waits: &explain.Waits{Since: at, Next: at, Reason: "judged"}, Create: &explain.Create{State: "unknown", Since: at, Next: at},
		Conflicts: []explain.Dispute{{ID: 1, Field: "email", Local: json.RawMessage(`"ours"`), Remote: value}},
		Parked:    []explain.Held{{ID: 1, Reason: "bad_value", Message: evil}},
		History:   []explain.Line{{Run: 2, At: &at, Side: "local", Op: "update", Fields: []store.FieldChange{{Field: evil, New: value, Reason: "newest"}}}},
	}, nil
}

// SettleConflicts settles every conflict.
func (fleet) SettleConflicts(_ context.Context, list []store.Conflict, _ string) (resolve.Settled, error) {
	return resolve.Settled{Done: make([]int64, len(list))}, nil
}

// UndoRun undoes one row of a first page.
func (fleet) UndoRun(_ context.Context, run store.Run, o undo.Options) (undo.Result, error) {
	r := undo.Result{Run: run.ID, DryRun: o.DryRun, Connectors: []string{}, Lines: []store.Change{
		{Connector: "contacts", Side: "local", Op: "update", LocalID: "7", RemoteID: evil, Fields: []store.FieldChange{{Field: "email", Old: json.RawMessage(`"new"`), New: json.RawMessage(`"old"`), Reason: "undo"}}},
		{Connector: "contacts", Side: "local", Op: "keep", LocalID: "8", Fields: []store.FieldChange{{Reason: "changed_since"}}},
	}}
	r.Fields, r.Rows, r.Kept = 1, 1, 1
	if o.After == "" {
		r.Next = "lines/9"
	}
	return r, nil
}

// CaptureOf says that triggers are missing.
func (fleet) CaptureOf(context.Context, string) (api.CaptureState, error) {
	return api.CaptureState{Mode: "triggers", Problems: []string{"no trigger"}}, nil
}

// RefreshCaptures finds nothing to do.
func (fleet) RefreshCaptures(context.Context, []string) error { return nil }

func TestRecordPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	contains(t, "record", w.get("/channels/crm/connectors/contacts/records?local_id=7"), "connection refused", "Waits to go out", "Keep ours",
		`action="/conflicts/1/resolve"`, "bad value", "unresolved", "manual", "run 2", "tandem records explain crm contacts --local-id 7")
	contains(t, "run", w.get("/runs/2"), "/channels/crm/connectors/contacts/records?local_id=7", "Undo", "Try again what is left")
	contains(t, "parked item", w.get("/parked/1"), "Explain it")
	if res, _ := w.do(http.MethodGet, "/channels/crm/connectors/nothing/records?local_id=7", nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown connector: %d", res.StatusCode)
	}
}

func TestConflictPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	contains(t, "conflicts", w.get("/conflicts?channel=crm&field=email"), "ours", "Take theirs", `name="winner" value="remote"`)
	if to := w.goes("/conflicts/1/resolve", url.Values{"winner": {"local"}}); to != "/conflicts?resolved=1" {
		t.Errorf("a decision leads to %q", to)
	}
	res, body := w.do(http.MethodPost, "/conflicts", url.Values{"winner": {"remote"}, "channel": {"crm"}})
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	contains(t, "the number", body, "Take theirs in 2 conflicts?", `name="confirm" value="2"`)
	_, body = w.do(http.MethodPost, "/conflicts", url.Values{"winner": {"remote"}, "channel": {"crm"}, "confirm": {"2"}})
	contains(t, "decided", body, "Decided: 2")
	if res, _ := w.do(http.MethodPost, "/conflicts/1/resolve", url.Values{"winner": {"me"}}); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a winner that is none: %d", res.StatusCode)
	}
}

func TestUndoPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	body := w.get("/runs/1/undo")
	contains(t, "preview", body, "Undo run 1?", "changed since", `action="/runs/1/undo"`, "/runs/1/undo?after=lines%2F9", "/runs/1/undo?pushed=1")
	_, body = w.do(http.MethodPost, "/runs/1/undo", url.Values{"pushed": {"1"}})
	contains(t, "undone", body, "Run 1 undone", "go on", `name="pushed" value="1"`, `name="after" value="lines/9"`)
	_, body = w.do(http.MethodPost, "/runs/1/undo", url.Values{"after": {"lines/9"}})
	if strings.Contains(body, "go on") {
		t.Errorf("at the end:\n%.2000s", body)
	}
	if to := w.goes("/runs/2/retry", nil); !strings.HasPrefix(to, "/runs/") || to == "/runs/2" {
		t.Errorf("retry leads to %q", to)
	}
	if res, _ := w.do(http.MethodGet, "/runs/3/undo", nil); res.StatusCode != http.StatusConflict {
		t.Errorf("undo of a run under way: %d", res.StatusCode)
	}
}

func TestExportFromThePage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	if strings.Contains(w.get("/channels/crm"), "Export now") {
		t.Error("a channel that writes nothing offers an export")
	}
	w.write(func(ctx context.Context, tx *store.Tx) error {
		cons, err := tx.PutConnectors(ctx, w.crm, []store.Connector{{Name: "contacts", Entity: "contacts", Outward: true}, {Name: "companies", Ord: 1}})
		if err != nil {
			return err
		}
		_, err = tx.MarkDirty(ctx, cons[0].ID, []string{"1"}, "test")
		return err
	})
	contains(t, "channel", w.get("/channels/crm"), "Export now", "To the remote", "no trigger", "/conflicts?channel=crm&amp;connector=contacts")
	to := w.goes("/channels/crm/reverse-sync", url.Values{"mode": {"full"}, "dry_run": {"1"}})
	contains(t, "the run", w.get(to), "reverse-sync", "dry run", "full", "a person")
}
