package hubspot

import (
	"context"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
)

// Sizes of pages and batches: HubSpot's maxima.
const (
	listSize    = 100
	historySize = 50 // of listings and batches with history
	searchSize  = 200
	batchSize   = 100
	// longNames is the length of all property names above which they are not put
	// into an address: HubSpot refuses addresses of about 16 KiB.
	longNames = 6000
)

// connector reads and writes contacts. Safe for concurrent use.
type connector struct {
	connectorSettings
	client *client
}

// Capabilities says what reading contacts can do.
func (c *connector) Capabilities() channels.Capabilities {
	return channels.Capabilities{Incremental: true, Tombstones: c.archived != archivedNever, Enumerates: true}
}

// Reader opens a listing: of all contacts, or of those that changed since a
// time; archived ones follow as tombstones.
func (c *connector) Reader(_ context.Context, req channels.ReadRequest) (channels.Reader, error) {
	op := "hubspot: list " + c.name
	pos, err := openPosition(req)
	if err != nil {
		return nil, fault.Wrap(fault.Permanent, fault.CodeConflict, op, err)
	}
	if err := checkFields(op, req.Fields); err != nil {
		return nil, err
	}
	r := &reader{c: c, req: req, pos: pos}
	full := newPlan(req.Fields, c.history == historyAlways)
	r.list, r.full = full.decoder(), &rows{c: c, plan: full}
	r.long = full.long()
	changes := newPlan(req.Fields, c.history != historyNever)
	r.search, r.changes = changes.decoder(), &rows{c: c, plan: changes}
	r.brief = newPlan(nil, false).decoder()
	return r, nil
}
