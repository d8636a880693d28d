package doctor

import (
	"context"
	"strings"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/workers"
)

// captures looks at the change triggers of the stored entities.
func (d *doctor) captures(ctx context.Context, db *store.DB) {
	if db.CheckSchema(ctx) != nil {
		return // said already
	}
	ctx, cancel := context.WithTimeout(ctx, databaseFor)
	defer cancel()
	list, err := workers.CaptureStatus(ctx, db, d.cfg.Keys)
	if err != nil {
		d.say(failed(AreaDatabase, "", "capture", err))
	}
	for i := range list {
		if c, say := captureCheck(&list[i]); say {
			d.say(c)
		}
	}
}

// captureCheck is the finding about one entity; none where nothing is captured by
// triggers and none are there.
func captureCheck(e *workers.Capture) (Check, bool) {
	c := Check{Area: AreaDatabase, Subject: e.Entity, Check: "capture", Status: OK, Message: "every change of " + e.Table + " is noticed"}
	switch {
	case e.Mode != workers.CaptureTriggers && !e.Installed:
		return c, false
	case e.Mode != workers.CaptureTriggers:
		c.Status, c.Message = Warn, "change triggers are on "+e.Table+", and the entity has capture: "+e.Mode
		c.Fix = "tandem capture remove " + e.Entity
	case len(e.Problems) > 0:
		c.Status, c.Message = Fail, strings.Join(e.Problems, "; ")
		c.Fix = "put that right, or set capture: modified, then `tandem apply`"
	case !e.Installed:
		c.Status, c.Message = Fail, "no change of "+e.Table+" is noticed: its triggers are missing"
		c.Fix = "tandem capture install " + e.Entity
	case len(e.Drift) > 0:
		c.Status, c.Message = Fail, "changes of "+e.Table+" may go unseen: "+strings.Join(e.Drift, "; ")
		c.Fix = "tandem capture install " + e.Entity
	}
	return c, true
}
