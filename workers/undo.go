package workers

import (
	"context"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/pass"
	"github.com/tandem-sync/tandem/sync/undo"
)

// UndoRun undoes a page of what a run did; see undo.Undoer. The connectors are
// taken as they are configured now.
func (d *Desk) UndoRun(ctx context.Context, run store.Run, o undo.Options) (undo.Result, error) {
	u := &undo.Undoer{DB: d.cfg.DB, Run: run, Open: func(ctx context.Context, connector string) (pass.Connector, error) {
		return d.open(ctx, run.Channel, connector)
	}}
	return u.Undo(ctx, o)
}
