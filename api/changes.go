package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// LocalChange is a change of a row of an entity's table, as the program that made
// it tells it.
type LocalChange struct {
	ID     RowID    `json:"id" doc:"Key of the row; of a key of several columns the list of its values, in order"`
	Op     string   `json:"op" enum:"upsert,delete" doc:"upsert: the row is there now; delete: it is gone"`
	Fields []string `json:"fields,omitempty" maxItems:"1000" doc:"Columns that changed; left out when that is not known"`
	At     string   `json:"at,omitempty" maxLength:"100" doc:"When: RFC 3339, 2006-01-02 15:04:05 in UTC, or a duration ago (2h); left out: now"`
}

// LocalChanges is what a program tells of an entity.
type LocalChanges struct {
	Changes []LocalChange `json:"changes" doc:"In the order in which they happened"`
}

// ChangesAccepted says how many changes were stored.
type ChangesAccepted struct {
	Entity   string `json:"entity"`
	Accepted int    `json:"accepted" doc:"Changes stored; connectors that write this entity to their remote will look at the rows"`
}

// Informed is who hears of local changes.
type Informed interface {
	// LocalChanges stores changes of an entity's rows, all or none; when it returns
	// they are committed. An unknown entity is an error with code not_found, a
	// change that makes no sense one with code usage.
	LocalChanges(ctx context.Context, entity string, req LocalChanges) (ChangesAccepted, error)
}

// RowID is the key of a row: the parts of it as texts.
type RowID []string

// UnmarshalJSON accepts a string, an integer, or a list of them.
func (id *RowID) UnmarshalJSON(b []byte) error {
	var parts []RecordID
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '[' {
		if err := json.Unmarshal(b, &parts); err != nil {
			return err
		}
	} else {
		parts = make([]RecordID, 1)
		if err := parts[0].UnmarshalJSON(b); err != nil {
			return err
		}
	}
	*id = make(RowID, len(parts))
	for i, p := range parts {
		(*id)[i] = string(p)
	}
	return nil
}

// MarshalJSON writes a string, or a list of several.
func (id RowID) MarshalJSON() ([]byte, error) {
	if len(id) == 1 {
		return json.Marshal(id[0])
	}
	return json.Marshal([]string(id))
}

// Schema describes the forms.
func (RowID) Schema(r huma.Registry) *huma.Schema {
	one := RecordID("").Schema(r)
	return &huma.Schema{OneOf: append(one.OneOf, &huma.Schema{Type: huma.TypeArray, Items: one})}
}

// key gives the row's key in the form in which the triggers log it. A key of
// several columns may come as that form itself.
func (id RowID) key(columns int) (string, bool) {
	if len(id) == 1 && columns > 1 {
		parts, err := entities.DecodeKey(id[0], columns)
		if err != nil {
			return "", false
		}
		id = parts
	}
	if len(id) != columns {
		return "", false
	}
	for _, p := range id {
		if strings.ContainsRune(p, 0) {
			return "", false
		}
	}
	key := entities.EncodeKey(id)
	return key, key != ""
}

// LocalChanges stores changes of an entity's rows.
func (s *Service) LocalChanges(ctx context.Context, entity string, req LocalChanges) (ChangesAccepted, error) {
	now := s.clock.Now()
	err := s.db.Write(ctx, "store local changes", func(ctx context.Context, tx *store.Tx) error {
		columns, err := keyColumns(ctx, tx, entity)
		if err != nil {
			return err
		}
		list := make([]store.LocalChange, len(req.Changes))
		for i := range req.Changes {
			if list[i], err = req.Changes[i].local(i, entity, columns, now); err != nil {
				return err
			}
		}
		return tx.LogChanges(ctx, list)
	})
	if err != nil {
		return ChangesAccepted{}, err
	}
	if s.fleet != nil && len(req.Changes) > 0 {
		s.fleet.Kick()
	}
	return ChangesAccepted{Entity: entity, Accepted: len(req.Changes)}, nil
}

// keyColumns counts the columns of an entity's key; the not_found of an unknown one
// names those there are.
func keyColumns(ctx context.Context, tx *store.Tx, name string) (int, error) {
	row, err := tx.Entity(ctx, name)
	if fault.CodeOf(err) == fault.CodeNotFound {
		list, lerr := tx.Entities(ctx)
		if lerr != nil {
			return 0, lerr
		}
		hint := "no entity is stored yet; `tandem apply` stores those of tandem.yaml"
		if len(list) > 0 {
			names := make([]string, len(list))
			for i := range list {
				names[i] = list[i].Name
			}
			hint = "known entities: " + strings.Join(names, ", ")
		}
		return 0, fault.New(fault.Permanent, fault.CodeNotFound, "", "no entity %q", name).WithHint(hint)
	}
	if err != nil {
		return 0, err
	}
	e, err := config.UnmarshalEntity(row.Name, row.Spec)
	return max(len(e.Key), 1), err
}

// local is the change as the log keeps it.
func (c *LocalChange) local(i int, entity string, columns int, now time.Time) (store.LocalChange, error) {
	out := store.LocalChange{Entity: entity, Op: store.LogUpsert}
	var ok bool
	if out.LocalKey, ok = c.ID.key(columns); !ok {
		return out, usage("changes[%d].id: want a key of %d columns", i, columns)
	}
	switch c.Op {
	case "upsert":
		out.Fields = c.Fields
	case "delete":
		out.Op = store.LogDelete
	default:
		return out, usage("changes[%d].op %q: want upsert or delete", i, c.Op)
	}
	for _, f := range c.Fields {
		if f == "" || strings.ContainsRune(f, 0) {
			return out, usage("changes[%d].fields: a column's name is empty or no text", i)
		}
	}
	at, err := when("at", c.At, now)
	if err != nil {
		return out, usage("changes[%d].%w", i, err)
	}
	if at != nil {
		out.At = *at
	}
	return out, nil
}

type changesInput struct {
	Entity string `path:"entity" doc:"Name of the entity"`
	Body   LocalChanges
}

func (s *Server) localChangeRoutes(h huma.API) {
	b := s.cfg.Backend
	huma.Register(h, accepted(op("report-changes", http.MethodPost, "/entities/{entity}/changes",
		"Tell which rows of an entity changed, where no trigger notices it; they are stored when the answer comes",
		http.StatusNotFound, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity)),
		func(ctx context.Context, in *changesInput) (*body[ChangesAccepted], error) {
			r, err := b.LocalChanges(ctx, in.Entity, in.Body)
			return answer(ctx, s, r, err)
		})
}
