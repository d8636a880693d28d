package entities

import (
	"encoding/binary"

	"github.com/tandem-sync/tandem/sync/record"
)

// Odd batches hold texts with the characters that the stage's lines use as
// marks. They are rare, so they are put together plainly: every field apart,
// and the driver escapes them.

// encodeOdd appends a position's fields, each after its length; the length
// 0xffffffff is NULL.
func (a *apply) encodeOdd(b []byte, pos int, p parts) []byte {
	c, _ := a.at(pos)
	plain := func(s string) { b = appendField(b, s, false) }
	value := func(col *column, v record.Value) {
		if v.Kind <= record.Null {
			b = appendField(b, "", true)
			return
		}
		if lit, ok := arrayLiteral(v.Text); ok && col != nil && col.array {
			v.Text = lit
		}
		plain(v.Text)
	}
	plain(itoa(int64(pos + a.off)))
	plain(a.keys[pos])
	if len(a.b.keys) > 1 {
		kp, err := DecodeKey(a.keys[pos], len(a.b.keys))
		for k := range a.b.keys {
			if err != nil {
				b = appendField(b, "", true)
			} else {
				plain(kp[k])
			}
		}
	}
	for _, s := range [...]string{c.Link.RemoteID, itoa(c.Link.ID), itoa(c.Link.Hash), c.Link.Base, itoa(int64(c.Link.State)), itoa(c.Link.ReadAt)} {
		plain(s)
	}
	if p.mask {
		plain(string(mask(nil, c.New, len(a.b.fields))))
	}
	for i := range a.b.fields {
		if p.values {
			value(a.b.col(i), valueAt(c.New, i))
		}
		if p.old {
			value(nil, valueAt(c.Old, i))
		}
	}
	for i := range a.b.set {
		if p.set {
			value(&a.b.t.cols[a.b.set[i]], valueAt(c.Set, i))
		}
	}
	return b
}

func valueAt(vals []record.Value, i int) record.Value {
	if i < len(vals) {
		return vals[i]
	}
	return record.NullValue
}

const nullLength = ^uint32(0)

func appendField(b []byte, s string, null bool) []byte {
	if null {
		return binary.BigEndian.AppendUint32(b, nullLength)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(s))) //nolint:gosec // a field is far below 4 GiB
	return append(b, s...)
}

// split takes the fields of encodeOdd apart, as parameters of the driver.
func split(b []byte) []any {
	var out []any
	for len(b) > 0 {
		n := binary.BigEndian.Uint32(b)
		b = b[4:]
		if n == nullLength {
			out = append(out, nil)
			continue
		}
		out = append(out, string(b[:n]))
		b = b[n:]
	}
	return out
}
