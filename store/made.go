package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
)

// AddMade keeps the numbers of the links whose rows a batch of a run created.
// They are kept as long as the run is; rows of consecutive numbers, which is how
// a batch draws them, cost a few bytes.
func (tx *Tx) AddMade(ctx context.Context, runID, connectorID, batchNo int64, links []uint64) error {
	if len(links) == 0 {
		return nil
	}
	if _, err := tx.exec(ctx, "INSERT INTO tandem_made (run_id, connector_id, batch_no, ids) VALUES (?, ?, ?, ?)",
		runID, connectorID, batchNo, encodeRows(links)); err != nil {
		return fmt.Errorf("rows made by run %d: %w", runID, err)
	}
	return nil
}

// Made calls fn with the links whose rows a run created, batch by batch, in
// order within each.
func (tx *Tx) Made(ctx context.Context, runID, connectorID int64, fn func(links []uint64) error) error {
	return tx.each(ctx, func(row scanner) error {
		var raw []byte
		if err := row.Scan(&raw); err != nil {
			return err
		}
		links, err := decodeRows(raw)
		if err != nil {
			return fmt.Errorf("rows made by run %d: %w", runID, err)
		}
		return fn(links)
	}, "SELECT ids FROM tandem_made WHERE run_id = ? AND connector_id = ? ORDER BY batch_no", runID, connectorID)
}

// encodeRows writes numbers as rows of consecutive ones: how far each begins
// behind the end of the one before, and how long it is.
func encodeRows(numbers []uint64) []byte {
	numbers = slices.Clone(numbers)
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	out := []byte{}
	end := uint64(0)
	for i := 0; i < len(numbers); {
		n := 1
		for i+n < len(numbers) && numbers[i+n] == numbers[i]+uint64(n) {
			n++
		}
		out = binary.AppendUvarint(out, numbers[i]-end)
		out = binary.AppendUvarint(out, uint64(n))
		end = numbers[i] + uint64(n)
		i += n
	}
	return out
}

// maxRow bounds a row of numbers: no batch makes as many.
const maxRow = 1 << 20

func decodeRows(raw []byte) ([]uint64, error) {
	var out []uint64
	end := uint64(0)
	for len(raw) > 0 {
		gap, a := binary.Uvarint(raw)
		if a <= 0 {
			return nil, fmt.Errorf("damaged at %d bytes from the end", len(raw))
		}
		n, b := binary.Uvarint(raw[a:])
		if b <= 0 || n > maxRow {
			return nil, fmt.Errorf("damaged at %d bytes from the end", len(raw))
		}
		raw = raw[a+b:]
		for i := range n {
			out = append(out, end+gap+i)
		}
		end += gap + n
	}
	return out, nil
}

// ChangesBack reads up to limit lines of a run before a sequence number (0: from
// the last), the latest first, and gives the number to go on from; 0 when there
// are no more.
func (tx *Tx) ChangesBack(ctx context.Context, runID, beforeSeq int64, limit int) (changes []Change, next int64, err error) {
	q, args := "SELECT seq, body FROM tandem_change WHERE run_id = ?", []any{runID}
	if beforeSeq > 0 {
		q += " AND seq < ?"
		args = append(args, beforeSeq)
	}
	changes, err = collect(ctx, tx, func(row scanner) (Change, error) {
		var c Change
		var body jsonText
		if err := row.Scan(&next, &body); err != nil {
			return c, err
		}
		return c, json.Unmarshal(body.raw, &c)
	}, q+" ORDER BY seq DESC LIMIT ?", append(args, limit)...)
	if len(changes) < limit {
		next = 0
	}
	return changes, next, err
}
