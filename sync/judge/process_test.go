package judge_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/record"
)

// world is the smallest two-sided sync that uses the judge as a real one has to:
// it pulls, then pushes what local changes are left, and keeps the base where the
// verdict says. It has no state but what is in it, so runs share nothing else.
type world struct {
	fields  []string
	rules   map[string]judge.Rule
	local   map[string]*localRow
	remote  map[remoteKey]*remoteRecord
	links   map[remoteKey]*link
	stored  store  // what the remote makes of a text
	during  func() // called once between a write to the remote and its booking
	now     time.Time
	seq     int
	writes  []string // every write to either side
	notices []string
	windows []time.Time // from when each page of a pull was asked for
}

// remoteKey names a remote record: ids are unique within a type only.
type remoteKey struct{ kind, id string }

type localRow struct {
	values   map[string]record.Value
	pending  map[string]change // local changes that have not been settled
	modified time.Time
}

type change struct {
	at  time.Time
	seq int
}

type remoteRecord struct {
	values   map[string]record.Value
	modified time.Time
	parent   remoteKey // a record that has to be there first; zero none
}

type link struct {
	key  string
	base map[string]judge.Halves
}

type options struct {
	noPush bool
	from   time.Time
}

// texts makes values by field from "field=value".
func texts(pairs ...string) map[string]record.Value {
	out := map[string]record.Value{}
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		out[name] = record.T(value)
	}
	return out
}

func newWorld() *world {
	w := &world{
		fields: []string{"email", "city"}, rules: map[string]judge.Rule{"email": {Required: true}, "city": {}},
		local: map[string]*localRow{}, remote: map[remoteKey]*remoteRecord{}, links: map[remoteKey]*link{},
		stored: stores["as it is"], now: after(0),
	}
	return w
}

// ago is a time before the first run.
func ago(hours float64) time.Time { return after(-int(hours * 3_600_000)) }

// linked adds a pair that was in step five hours ago.
func (w *world) linked(key string, r remoteKey, values map[string]record.Value) {
	w.local[key] = &localRow{values: maps.Clone(values), pending: map[string]change{}, modified: ago(5)}
	w.remote[r] = &remoteRecord{values: maps.Clone(values), modified: ago(5)}
	l := &link{key: key, base: map[string]judge.Halves{}}
	for f, v := range values {
		l.base[f] = both(v)
	}
	w.links[r] = l
}

func (w *world) editLocal(key, field, value string, at time.Time) {
	w.seq++
	row := w.local[key]
	row.values[field], row.modified = record.T(value), at
	row.pending[field] = change{at, w.seq}
}

func (w *world) editRemote(r remoteKey, field, value string, at time.Time) {
	rec := w.remote[r]
	rec.values[field], rec.modified = w.stored(record.T(value)), at
}

// run pulls and pushes, and gives the writes it made.
func (w *world) run(o options) []string {
	w.writes = nil
	w.now = w.now.Add(time.Minute)
	keys := slices.SortedFunc(maps.Keys(w.remote), func(a, b remoteKey) int {
		return strings.Compare(a.kind+a.id, b.kind+b.id)
	})
	for _, k := range keys {
		w.windows = append(w.windows, o.from)
		if !w.remote[k].modified.Before(o.from) {
			w.pull(k)
		}
	}
	if !o.noPush {
		for _, key := range slices.Sorted(maps.Keys(w.local)) {
			w.push(key)
		}
	}
	return w.writes
}

func (w *world) pull(k remoteKey) {
	rec := w.remote[k]
	if p := rec.parent; p != (remoteKey{}) && w.links[p] == nil {
		w.pull(p) // fetches that record and does nothing else
	}
	l := w.links[k]
	if l == nil {
		l = w.match(k)
	}
	row := w.local[l.key]
	d := w.judge(row, rec, l)
	for i, f := range w.fields {
		v := d.Verdicts[i]
		if v.Reason == judge.ReasonRequired {
			w.notices = append(w.notices, k.id+"."+f)
		}
		switch {
		case v.WriteRemote:
			continue // the push judges it again, by what is there then
		case v.WriteLocal:
			row.values[f] = v.Base.Local
			w.writes = append(w.writes, fmt.Sprintf("local %s.%s=%s", l.key, f, v.Base.Local.Text))
		}
		l.base[f] = v.Base
		if v.Winner != judge.WinUnresolved {
			delete(row.pending, f)
		}
	}
}

// match finds the row of an unlinked record by its e-mail address, or makes one.
func (w *world) match(k remoteKey) *link {
	rec := w.remote[k]
	taken := map[string]bool{}
	for _, l := range w.links {
		taken[l.key] = true
	}
	l := &link{base: map[string]judge.Halves{}}
	w.links[k] = l
	for _, key := range slices.Sorted(maps.Keys(w.local)) {
		email := w.local[key].values["email"]
		if !taken[key] && !email.Empty() && email == rec.values["email"] {
			l.key = key
			return l
		}
	}
	l.key = "new " + k.kind + ":" + k.id
	w.local[l.key] = &localRow{values: map[string]record.Value{}, pending: map[string]change{}, modified: w.now}
	w.writes = append(w.writes, "local create "+k.kind+":"+k.id)
	return l
}

func (w *world) push(key string) {
	row := w.local[key]
	if len(row.pending) == 0 {
		return
	}
	claimed := maps.Clone(row.pending)
	for k, l := range w.links {
		if l.key != key {
			continue
		}
		rec := w.remote[k]
		d := w.judge(row, rec, l)
		for i, f := range w.fields {
			v := d.Verdicts[i]
			if v.WriteLocal || v.Winner == judge.WinUnresolved {
				delete(claimed, f) // the next pull's, or a person's
				continue
			}
			l.base[f] = v.Base
			if v.WriteRemote {
				rec.values[f], rec.modified = w.stored(v.Base.Remote), w.now
				l.base[f] = judge.Halves{Local: v.Base.Local, Remote: rec.values[f]}
				w.writes = append(w.writes, fmt.Sprintf("remote %s.%s=%s", k.id, f, rec.values[f].Text))
			}
		}
	}
	if w.during != nil {
		w.during()
		w.during = nil
	}
	for f, c := range claimed {
		if row.pending[f] == c {
			delete(row.pending, f)
		}
	}
}

// judge decides all fields before any of them is written: a write moves the date
// of its record, which would then speak for fields that nobody has edited.
func (w *world) judge(row *localRow, rec *remoteRecord, l *link) judge.Decision {
	rules := make(judge.Rules, len(w.fields))
	s := judge.Sheet{LocalAt: row.modified, RemoteAt: rec.modified}
	for i, f := range w.fields {
		rules[i] = w.rules[f]
		s.Local, s.Remote = append(s.Local, row.values[f]), append(s.Remote, rec.values[f])
		s.BaseLocal, s.BaseRemote = append(s.BaseLocal, l.base[f].Local), append(s.BaseRemote, l.base[f].Remote)
		s.LocalFieldAt = append(s.LocalFieldAt, row.pending[f].at)
	}
	var d judge.Decision
	rules.Record(&s, &d)
	return d
}

// state tells what both sides hold in a field of a pair.
func (w *world) state(r remoteKey, field string) string {
	return w.local[w.links[r].key].values[field].Text + "|" + w.remote[r].values[field].Text
}
