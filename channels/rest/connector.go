package rest

import (
	"context"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/transport"
)

// connector reads one kind of record. Safe for concurrent use.
type connector struct {
	*parsedConnector
	http *transport.HTTP
}

func newConnector(h *transport.HTTP, p *parsedConnector) *connector {
	return &connector{parsedConnector: p, http: h}
}

// Capabilities says what the settings make possible.
func (c *connector) Capabilities() channels.Capabilities {
	return channels.Capabilities{
		Incremental: c.list.since.given(),
		Tombstones:  c.deletedPath != "" || c.deletedField != "",
		Enumerates:  true,
		Drifts:      c.list.page.by.numbered(),
	}
}

// Reader opens the listing.
func (c *connector) Reader(_ context.Context, req channels.ReadRequest) (channels.Reader, error) {
	op := "rest: list " + c.name
	pos, err := openPosition(req.From, c.list.page.by)
	if err != nil {
		return nil, fault.Wrap(fault.Permanent, fault.CodeConflict, op, err)
	}
	list, err := c.listShape().compile(req.Fields)
	if err != nil {
		return nil, fault.Wrap(fault.Permanent, fault.CodeConfig, op, err)
	}
	r := &reader{c: c, req: req, pos: pos, list: list.decoder()}
	if c.deletedPath != "" {
		gone, err := c.deletedShape().compile(nil)
		if err != nil {
			return nil, fault.Wrap(fault.Permanent, fault.CodeConfig, op, err)
		}
		r.gone = gone.decoder()
	}
	return r, nil
}

func (c *connector) listShape() shape {
	p := c.list.page
	return shape{
		records: c.list.records, token: p.tokenAt + p.nextAt, total: p.totalAt,
		id: c.id, modified: c.modified, deletedField: c.deletedField, formerIDs: c.formerIDs, format: c.list.since.format,
	}
}

func (c *connector) deletedShape() shape {
	s := c.listShape()
	s.records, s.deletedField, s.formerIDs, s.tombstones = c.deletedRecords, "", "", true
	if s.records == "" {
		s.token, s.total = "", ""
	}
	return s
}
