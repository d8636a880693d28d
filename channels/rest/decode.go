package rest

import (
	"bytes"

	"github.com/cespare/xxhash/v2"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

// Bounds of one record and one page.
const (
	maxRecord      = 4 << 20
	maxPageRecords = 100_000
	maxID          = 512
)

// The slots of a record after its mapped fields.
const (
	slotID = iota
	slotOtherID
	slotModified
	slotDeleted
	slotFormer
	ownSlots
)

// The slots of a page outside of its records.
const (
	slotToken = iota
	slotTotal
	pageSlots
)

// shape says where in an answer the things are. It is compiled into a plan for
// each list of fields.
type shape struct {
	records      string // path of the records; "" the whole answer
	token        string // path of the next token or address; "" none
	total        string // path of the total; "" none
	id           string
	modified     string
	deletedField string
	formerIDs    string // path of the ids that lead to the record by now; "" none
	format       timeFormat
	// tombstones lets items be plain ids and objects be found by "id" too.
	tombstones bool
	// single: at records is one record, not a list of them.
	single bool
}

// plan is a shape compiled for a list of fields. Immutable; safe for
// concurrent use.
type plan struct {
	shape
	fields  []string
	page    *node
	record  *node
	idOnly  *node
	nodes   int // of the larger trie
	key     []int
	keyOnly bool
}

// compile makes the plan that decodes fields.
func (sh shape) compile(fields []string) (*plan, error) {
	p := &plan{shape: sh, fields: fields}
	page := newTrie()
	if err := page.markRecords(sh.records); err != nil {
		return nil, err
	}
	for _, own := range []struct {
		path string
		slot int
	}{{sh.token, slotToken}, {sh.total, slotTotal}} {
		if own.path == "" {
			continue
		}
		if err := page.add(own.path, own.slot); err != nil {
			return nil, err
		}
	}
	rec, only := newTrie(), newTrie()
	for i, f := range fields {
		if f == keyPath {
			p.key = append(p.key, i)
			continue
		}
		if err := rec.add(f, i); err != nil {
			return nil, err
		}
	}
	if err := p.addOwn(rec, only); err != nil {
		return nil, err
	}
	p.page, p.record, p.idOnly = page.root, rec.root, only.root
	p.nodes = max(page.count, rec.count, only.count)
	return p, nil
}

func (p *plan) addOwn(rec, only *trie) error {
	n := len(p.fields)
	if p.id == keyPath {
		p.keyOnly = true
	} else {
		if err := only.add(p.id, n+slotID); err != nil {
			return err
		}
		if err := rec.add(p.id, n+slotID); err != nil {
			return err
		}
	}
	if p.tombstones {
		if err := rec.add("id", n+slotOtherID); err != nil {
			return err
		}
	}
	if p.modified != "" {
		if err := rec.add(p.modified, n+slotModified); err != nil {
			return err
		}
	}
	if p.deletedField != "" {
		if err := rec.add(p.deletedField, n+slotDeleted); err != nil {
			return err
		}
	}
	if p.formerIDs != "" {
		return rec.add(p.formerIDs, n+slotFormer)
	}
	return nil
}

// answer is one decoded page.
type answer struct {
	records []record.Record
	token   record.Value
	total   record.Value
	content uint64 // hash of the records' bytes
	idsHash uint64 // hash of the ids in order
	found   bool   // the place of the records was there
	wrong   string // what was there instead of records; "" nothing wrong
}

// decoder decodes the pages of one listing. Not safe for concurrent use.
type decoder struct {
	*plan
	s       scanner
	own     []record.Value // the record under way, by slot
	pageOut []record.Value
	marks   []mark
	ids     *xxhash.Digest
	got     answer
	mem     *record.Arena
	last    int    // records of the page before
	asked   string // the id a single record was asked for with
}

func (p *plan) decoder() *decoder {
	d := &decoder{
		plan: p, own: make([]record.Value, len(p.fields)+ownSlots),
		pageOut: make([]record.Value, pageSlots), ids: xxhash.New(),
	}
	d.s.visit = make([]uint32, p.nodes)
	d.s.records = d.list
	d.s.idSlot = len(p.fields) + slotID
	return d
}

// decode reads body, which it may change and which the records' Raw shares.
func (d *decoder) decode(body []byte) (*answer, error) {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	marks, err := valid(body)
	if err != nil {
		return nil, err
	}
	d.marks, d.mem = marks, record.NewArena(d.last)
	d.got = answer{records: make([]record.Record, 0, d.last)}
	d.ids.Reset()
	clear(d.pageOut)
	d.s.b, d.s.mem, d.s.out = body, d.mem, d.pageOut
	d.newRound()
	d.s.value(d.s.ws(0), d.page, 0)
	d.got.token, d.got.total = d.pageOut[slotToken], d.pageOut[slotTotal]
	d.got.idsHash = d.ids.Sum64()
	d.last = len(d.got.records)
	got := d.got
	d.got, d.s.b, d.mem, d.s.mem = answer{}, nil, nil, nil
	if len(got.records) > maxPageRecords {
		return nil, fault.New(fault.Permanent, "page_too_large", "", "the page holds more than %d records", maxPageRecords).
			WithHint("ask for smaller pages: remote.list.page")
	}
	return &got, nil
}

func (d *decoder) newRound() {
	d.s.round++
	if d.s.round == 0 { // after 2^32 records: no old mark may look new
		clear(d.s.visit)
		d.s.round = 1
	}
}

// list reads the records that begin at i and gives the place after them.
func (d *decoder) list(i int) int {
	pageOut := d.s.out
	defer func() { d.s.out = pageOut }()
	d.got.found, d.got.wrong = true, ""
	d.got.records = d.got.records[:0] // a second member of the name: the last one counts
	d.ids.Reset()
	d.s.flaw = fine
	var end int
	switch c := d.s.b[i]; {
	case d.single:
		end = d.one(i, &d.asked)
	case c == '[':
		end = d.each(i)
	case c == '{':
		end = d.members(i)
	default:
		end = d.s.skip(i, 0)
		if c != 'n' {
			d.got.wrong = short(d.s.b[i:end])
		}
	}
	d.got.content = xxhash.Sum64(d.s.b[i:end])
	return end
}

func (d *decoder) each(i int) int {
	i = d.s.ws(i + 1)
	for d.s.b[i] != ']' {
		i = d.s.ws(d.one(i, nil))
		if d.s.b[i] == ',' {
			i = d.s.ws(i + 1)
		}
	}
	return i + 1
}

func (d *decoder) members(i int) int {
	i = d.s.ws(i + 1)
	for d.s.b[i] != '}' {
		end, _ := d.s.str(i)
		d.s.flaw = fine
		key := d.s.text(d.s.b[i:end], d.s.idSlot)
		i = d.s.ws(d.s.ws(end) + 1)
		i = d.s.ws(d.one(i, &key))
		if d.s.b[i] == ',' {
			i = d.s.ws(i + 1)
		}
	}
	return i + 1
}

// one reads the record at i; key is its name where records are members, nil in
// a list.
func (d *decoder) one(i int, key *string) int {
	if len(d.got.records) > maxPageRecords {
		return d.s.skip(i, 0) // the page will be refused; hold no more memory
	}
	keyFlaw := fine
	clear(d.own)
	d.s.out = d.own
	if key != nil {
		keyFlaw = d.s.flaw
		for _, slot := range d.key {
			d.own[slot] = record.T(*key)
		}
		if d.keyOnly {
			d.own[d.s.idSlot] = record.T(*key)
		}
	}
	d.s.flaw, d.s.flawAt, d.s.idBad = fine, -1, false
	d.newRound()
	root, large := d.record, false
	if len(d.s.b)-i > maxRecord {
		end := d.s.skip(i, 0)
		d.s.flaw, d.s.flawAt = fine, -1
		if large = end-i > maxRecord; large {
			root = d.idOnly
		}
	}
	c := d.s.b[i]
	end := d.s.value(i, root, 0)
	d.got.records = append(d.got.records, d.finish(d.s.b[i:end:end], c, large, keyFlaw))
	r := &d.got.records[len(d.got.records)-1]
	_, _ = d.ids.WriteString(r.ID)
	if r.ID == "" {
		_, _ = d.ids.Write(d.s.b[i:end])
	}
	_, _ = d.ids.WriteString("\x00")
	d.markErr(r, i, end)
	return end
}
