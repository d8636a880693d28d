package workers

import (
	"context"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/resolve"
)

// resolveChunk is how many conflicts are decided in one transaction.
const resolveChunk = 500

// SettleConflicts decides open conflicts in favour of a side and asks for the runs
// that tell the other one. What cannot be decided is refused one by one.
func (d *Desk) SettleConflicts(ctx context.Context, list []store.Conflict, winner string) (resolve.Settled, error) {
	out := resolve.Settled{Refused: map[int64]error{}}
	type place struct{ channel, connector string }
	var order []place
	by := map[place][]store.Conflict{}
	for _, c := range list {
		p := place{c.Channel, c.Connector}
		if by[p] == nil {
			order = append(order, p)
		}
		by[p] = append(by[p], c)
	}
	for _, p := range order {
		if err := d.settle(ctx, by[p], winner, &out); err != nil {
			return out, err
		}
	}
	return out, nil
}

// settle decides conflicts of one connector.
func (d *Desk) settle(ctx context.Context, list []store.Conflict, winner string, out *resolve.Settled) error {
	c, err := d.open(ctx, list[0].Channel, list[0].Connector)
	if err != nil {
		if fault.CodeOf(err) != fault.CodeNotFound && fault.CodeOf(err) != fault.CodeConfig {
			return err
		}
		for _, f := range list {
			out.Refused[f.ID] = err
		}
		return nil
	}
	for start := 0; start < len(list); start += resolveChunk {
		var one resolve.Settled
		err := d.cfg.DB.Write(ctx, "resolve conflicts", func(ctx context.Context, tx *store.Tx) error {
			one = resolve.Settled{Refused: map[int64]error{}}
			r := &resolve.Resolver{C: c}
			for _, f := range list[start:min(start+resolveChunk, len(list))] {
				err := r.Settle(ctx, tx, f, winner)
				switch fault.CodeOf(err) {
				case "":
					if err != nil {
						return err
					}
					one.Done = append(one.Done, f.ID)
				case fault.CodeConflict, fault.CodeNotFound:
					one.Refused[f.ID] = err
				default:
					return err
				}
			}
			var err error
			one.Runs, one.Notes, err = r.Request(ctx, tx)
			return err
		})
		if err != nil {
			return err
		}
		out.Done, out.Runs, out.Notes = append(out.Done, one.Done...), append(out.Runs, one.Runs...), append(out.Notes, one.Notes...)
		for id, why := range one.Refused {
			out.Refused[id] = why
		}
	}
	return nil
}
