package entities

import (
	"context"
	"strings"

	"github.com/tandem-sync/tandem/store"
)

// linkValues is how many parameters a link takes on SQLite.
const linkValues = 7

// linkStage is a stage table written as parameters. They are not numbered, for
// the driver searches all arguments for a numbered one.
func linkStage(rows int) string {
	const row = "(?, ?, ?, ?, ?, ?, ?)"
	return "(SELECT column1 AS remote_id, column2 AS key, column3 AS link_id, column4 AS hash, column5 AS base, column6 AS link_state, column7 AS read_at FROM (VALUES " +
		row + strings.Repeat(", "+row, rows-1) + "))"
}

// linksSQLite writes the links of what is done, first those that exist, for one
// may give a local key free that a new one takes.
func (a *apply) linksSQLite(ctx context.Context, lo, hi int) error {
	for _, fresh := range [...]bool{false, true} {
		a.args = a.args[:0]
		for p := lo; p < hi; p++ {
			c, r := a.at(p)
			if r.Outcome != Done || c.NewLink != fresh {
				continue
			}
			l := &c.Link
			a.args = append(a.args, l.RemoteID, a.keys[p], l.ID, l.Hash, l.Base, int64(l.State), l.ReadAt)
			if len(a.args) >= chunk {
				if err := a.putLinks(ctx, fresh); err != nil {
					return err
				}
			}
		}
		if err := a.putLinks(ctx, fresh); err != nil {
			return err
		}
	}
	return nil
}

// putLinks sends the links gathered in args.
func (a *apply) putLinks(ctx context.Context, fresh bool) error {
	rows := len(a.args) / linkValues
	if rows == 0 {
		return nil
	}
	stage := linkStage(rows)
	text := store.LinkUpdateFromStage(stage, "")
	if fresh {
		text = store.LinkInsertFromStage(stage, "")
	}
	a.args = append(a.args, a.connector)
	at := strings.Index(text, "$1")
	if at < strings.Index(text, stage) { // the connector's parameter comes first
		copy(a.args[1:], a.args)
		a.args[0] = a.connector
	}
	n, err := a.affected(ctx, text[:at]+"?"+text[at+2:])
	a.args = a.args[:0]
	if err == nil && n != int64(rows) {
		err = errLinkGone
	}
	return err
}
