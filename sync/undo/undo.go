// Package undo takes back what a run did, as a person would who edits the rows:
// values that the run replaced are put back where they are still what it wrote,
// and rows that it created are deleted where nobody has touched them. Nothing is
// deleted at a remote. What cannot be taken back is told with its reason.
package undo

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/pass"
)

// Reason is why a row waits to go out whose values were put back.
const Reason = "undo"

// Options say what to undo. The zero value undoes all but what was pushed.
type Options struct {
	DryRun bool `json:"dry_run,omitempty" doc:"Say what would be done, and do nothing"`
	Pushed bool `json:"pushed,omitempty" doc:"Also put back, on both sides, the values that the run replaced at the remote"`
	// After is where to go on: Next of the result before; "" from the beginning.
	After string `json:"after,omitempty" maxLength:"2000" doc:"Where to go on: next of the answer before"`
}

// The operations of a line.
const (
	OpUpdate = "update" // values are put back
	OpDelete = "delete" // a row that the run created is deleted
	OpKeep   = "keep"   // nothing is done; the reason says why
)

// The reasons why something is kept.
const (
	KeepChanged   = "changed_since"    // the value is not what the run wrote any more
	KeepGone      = "row_gone"         // there is no such row any more
	KeepUnlinked  = "unlinked"         // the pair was taken apart
	KeepTouched   = "touched"          // somebody has changed the row since it was created
	KeepElsewhere = "linked_elsewhere" // another connector has a record for the row
	KeepDeleted   = "deleted"          // the run deleted it or took it apart: its values are not kept
	KeepCreated   = "created_remotely" // a record at the remote is never deleted by undoing
	KeepPushed    = "pushed"           // it was somebody's edit that went out: only on request
	KeepUnmapped  = "unmapped"         // the field is not mapped any more, or cannot be written here
	KeepRefused   = "refused"          // the database does not take the old value
	KeepConnector = "connector_gone"   // the connector is not there any more
)

// Result is what was undone by one call, or would be.
type Result struct {
	Run    int64 `json:"run"`
	DryRun bool  `json:"dry_run"`
	Counts
	// Lines say it record by record, in the form of a dry run's lines.
	Lines []store.Change `json:"lines" doc:"Record by record: update, delete, or keep with its reason"`
	// Next is where to go on; "" when all is done.
	Next string `json:"next" doc:"Where to go on; empty when all is done"`
	// Connectors are those that have something to tell their remote now.
	Connectors []string `json:"connectors" doc:"Connectors whose remotes are told"`
}

// Counts sum up what was undone.
type Counts struct {
	Fields  int64 `json:"fields" doc:"Values put back"`
	Rows    int64 `json:"rows" doc:"Rows whose values were put back"`
	Deleted int64 `json:"deleted" doc:"Rows deleted that the run had created"`
	Kept    int64 `json:"kept" doc:"What could not be undone"`
}

// Add adds o to c.
func (c *Counts) Add(o Counts) {
	c.Fields += o.Fields
	c.Rows += o.Rows
	c.Deleted += o.Deleted
	c.Kept += o.Kept
}

// pageLines is how much one call works on.
const pageLines = 500

// Undoer undoes a run of a channel.
type Undoer struct {
	DB  *store.DB
	Run store.Run
	// Open gives a connector of the channel by its name; one that is not there any
	// more is an error with code not_found.
	Open func(ctx context.Context, connector string) (pass.Connector, error)
}

// Undo works on one page of the run: first the rows that it created, then its
// changes, the latest first. It can be repeated: what is undone already is no
// longer what the run wrote. Each page is a few transactions; one that fails
// leaves those before it.
func (u *Undoer) Undo(ctx context.Context, o Options) (Result, error) {
	out := Result{Run: u.Run.ID, DryRun: o.DryRun, Lines: []store.Change{}, Connectors: []string{}}
	switch {
	case !u.Run.Status.Ended():
		return out, refuse("run %d is not over", u.Run.ID).WithHint("`tandem runs cancel` ends it")
	case u.Run.Spec.Flags.DryRun:
		return out, refuse("run %d was a dry run: it changed nothing", u.Run.ID)
	}
	w := &work{Undoer: u, opts: o, out: &out, opened: map[string]*pass.Connector{}}
	err := w.page(ctx)
	if err == nil && out.Next == "" && !o.DryRun {
		err = u.DB.Write(ctx, "undo.end", func(ctx context.Context, tx *store.Tx) error { return tx.EndUndone(ctx, u.Run.ID) })
		if errors.Is(err, store.ErrCommitUnknown) {
			err = nil // at worst the run says that it is undone partly
		}
	}
	return out, err
}

// page works on the page that the options name.
func (w *work) page(ctx context.Context) error {
	stage, rest, _ := strings.Cut(w.opts.After, "/")
	switch stage {
	case "", "made":
		return w.created(ctx, rest)
	case "lines":
		seq, err := strconv.ParseInt(rest, 10, 64)
		if err == nil && seq >= 0 {
			return w.lines(ctx, seq)
		}
	}
	return fault.New(fault.Permanent, fault.CodeUsage, "", "after %q is no place to go on from", w.opts.After)
}

// work is one call.
type work struct {
	*Undoer
	opts   Options
	out    *Result
	opened map[string]*pass.Connector
}

// connector opens a connector once; nil when it is not there any more.
func (w *work) connector(ctx context.Context, name string) (*pass.Connector, error) {
	if c, ok := w.opened[name]; ok {
		return c, nil
	}
	c, err := w.Open(ctx, name)
	if fault.CodeOf(err) == fault.CodeNotFound {
		w.opened[name] = nil
		return nil, nil //nolint:nilnil // nil says that it is gone
	}
	if err != nil {
		return nil, err
	}
	w.opened[name] = &c
	return &c, nil
}

// keep notes what is not undone.
func (w *work) keep(c store.Change, why string) {
	w.out.Kept++
	c.Op, c.Fields = OpKeep, []store.FieldChange{{Reason: why}}
	w.out.Lines = append(w.out.Lines, c)
}

func refuse(format string, args ...any) *fault.Error {
	return fault.New(fault.Permanent, fault.CodeConflict, "", format, args...)
}

// lines undoes a page of the run's changes, from before a number (0: the last).
func (w *work) lines(ctx context.Context, before int64) error {
	var list []store.Change
	var next int64
	err := w.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		list, next, err = tx.ChangesBack(ctx, w.Run.ID, before, pageLines)
		return err
	})
	if err != nil {
		return err
	}
	// By connector and record, the latest line first.
	var names []string
	by := map[string][]store.Change{}
	for _, c := range list {
		if by[c.Connector] == nil {
			names = append(names, c.Connector)
		}
		by[c.Connector] = append(by[c.Connector], c)
	}
	for _, name := range names {
		if err := w.changes(ctx, name, by[name]); err != nil {
			return err
		}
	}
	if next > 0 {
		w.out.Next = "lines/" + strconv.FormatInt(next, 10)
	}
	return nil
}

// edit is what is to be put back into one row.
type edit struct {
	key   string
	lines []store.Change // the latest first
}

// changes undoes lines of one connector.
func (w *work) changes(ctx context.Context, name string, list []store.Change) error {
	c, err := w.connector(ctx, name)
	if err != nil {
		return err
	}
	var edits []*edit
	at := map[string]*edit{}
	for _, l := range list {
		switch why := w.hopeless(c, &l); {
		case why == "-": // it changed nothing
		case why != "":
			w.keep(l, why)
		default:
			e := at[l.LocalID]
			if e == nil {
				e = &edit{key: l.LocalID}
				at[l.LocalID] = e
				edits = append(edits, e)
			}
			e.lines = append(e.lines, l)
		}
	}
	if len(edits) == 0 {
		return nil
	}
	return w.putBack(ctx, c, edits)
}

// hopeless says why a line cannot be undone; "-" when it says nothing that was
// done.
func (w *work) hopeless(c *pass.Connector, l *store.Change) string {
	switch {
	case l.Op == "undo" || l.Op == "skip" || l.Op == "park" || l.Op == "link":
		return "-"
	case c == nil:
		return KeepConnector
	case l.Op == "delete" || l.Op == "unlink":
		return KeepDeleted
	case l.Op == "create" && l.Side == "remote":
		return KeepCreated
	case l.Op != "update":
		return "-"
	case l.Side == "remote" && !w.opts.Pushed:
		return KeepPushed
	}
	return ""
}

// value reads a value of a line.
func value(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("null")
	}
	return raw
}
