package web

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/explain"
	"github.com/tandem-sync/tandem/sync/undo"
)

// peoplePages are the pages about single records, conflicts and what runs did.
func (p *Pages) peoplePages(page func(pattern string, fn func(*http.Request) (answer, error))) {
	page("POST /channels/{name}/reverse-sync", p.reverseSync)
	page("GET /channels/{name}/connectors/{connector}/records", p.record)
	page("GET /conflicts", p.conflicts)
	page("POST /conflicts", p.decide)
	page("POST /conflicts/{id}/resolve", p.resolve)
	page("POST /runs/{id}/retry", p.retryRun)
	page("GET /runs/{id}/undo", p.previewUndo)
	page("POST /runs/{id}/undo", p.undo)
}

// reverseSync asks for an export on behalf of a person.
func (p *Pages) reverseSync(r *http.Request) (answer, error) {
	if err := r.ParseForm(); err != nil {
		return answer{}, badForm(err)
	}
	req := api.SyncRequest{Trigger: store.TriggerManual, Mode: store.Mode(r.PostForm.Get("mode"))}
	if c := r.PostForm.Get("connector"); c != "" {
		req.Connectors = []string{c}
	}
	if id := r.PostForm.Get("local_id"); id != "" {
		req.LocalIDs = []api.RecordID{api.RecordID(id)}
	}
	if r.PostForm.Get("dry_run") != "" {
		req.Flags = []string{"dry_run"}
	}
	run, err := p.cfg.Backend.ReverseSync(r.Context(), r.PathValue("name"), req)
	return answer{goTo: runPath(run.ID)}, err
}

// recordPath is the page that explains a record.
func recordPath(channel, connector, localID, remoteID string) string {
	v := url.Values{}
	switch {
	case localID != "":
		v.Set("local_id", localID)
	default:
		v.Set("remote_id", remoteID)
	}
	return "/channels/" + url.PathEscape(channel) + "/connectors/" + url.PathEscape(connector) + "/records?" + v.Encode()
}

// record explains a record; without an id it asks for one.
func (p *Pages) record(r *http.Request) (answer, error) {
	channel, connector, q := r.PathValue("name"), r.PathValue("connector"), r.URL.Query()
	query := explain.Query{LocalID: q.Get("local_id"), RemoteID: q.Get("remote_id")}
	flag, id := "--local-id ", query.LocalID
	if id == "" {
		flag, id = "--remote-id ", query.RemoteID
	}
	rec, err := p.cfg.Backend.ExplainRecord(r.Context(), channel, connector, query)
	return answer{view: "record", page: page{
		Title: "Record " + id, Nav: "channels", Command: "tandem records explain " + shell(channel) + " " + shell(connector) + " " + flag + shell(id), Data: rec,
	}}, err
}

type conflictFilter struct {
	Channel, Connector, Field, LocalID string
	Run                                int64
	Resolved                           bool
}

func conflictFilterOf(q url.Values) (f conflictFilter, err error) {
	f = conflictFilter{
		Channel: q.Get("channel"), Connector: q.Get("connector"), Field: q.Get("field"), LocalID: q.Get("local_id"), Resolved: q.Get("resolved") != "",
	}
	f.Run, err = number64(q.Get("run"))
	return f, err
}

type conflictsData struct {
	Conflicts []api.Conflict
	Older     string
	Channels  []string
	Filter    conflictFilter
}

func (p *Pages) conflicts(r *http.Request) (answer, error) {
	q := r.URL.Query()
	before, err := number64(q.Get("before"))
	if err != nil {
		return answer{}, err
	}
	var d conflictsData
	if d.Filter, err = conflictFilterOf(q); err != nil {
		return answer{}, err
	}
	if d.Channels, err = p.channelNames(r); err != nil {
		return answer{}, err
	}
	f := d.Filter
	got, err := p.cfg.Backend.Conflicts(r.Context(), api.ConflictQuery{
		Channel: f.Channel, Connector: f.Connector, Field: f.Field, LocalID: f.LocalID, Run: f.Run, Resolved: f.Resolved, Before: before,
	})
	d.Conflicts, d.Older = got.Conflicts, older("/conflicts", q, got.Next)
	return answer{view: "conflicts", page: page{Title: "Conflicts", Nav: "conflicts", Command: "tandem conflicts list", Data: d}}, err
}

// resolve decides one conflict and goes back to where it was shown.
func (p *Pages) resolve(r *http.Request) (answer, error) {
	id, err := pathID(r)
	if err != nil {
		return answer{}, err
	}
	if err := r.ParseForm(); err != nil {
		return answer{}, badForm(err)
	}
	done, err := p.cfg.Backend.ResolveConflict(r.Context(), id, r.PostForm.Get("winner"))
	if err != nil || len(done.Runs) == 0 {
		return answer{goTo: "/conflicts?resolved=1"}, err
	}
	return answer{goTo: runPath(done.Runs[0].ID)}, nil
}

type decidedData struct {
	Winner string
	Filter conflictFilter
	Done   api.Decided
}

// decide decides all open conflicts of a filter: first it says how many they are,
// and only a second form with that number does it.
func (p *Pages) decide(r *http.Request) (answer, error) {
	if err := r.ParseForm(); err != nil {
		return answer{}, badForm(err)
	}
	d := decidedData{Winner: r.PostForm.Get("winner")}
	var err error
	if d.Filter, err = conflictFilterOf(r.PostForm); err != nil {
		return answer{}, err
	}
	f := d.Filter
	c := api.ConflictChoice{Channel: f.Channel, Connector: f.Connector, Field: f.Field, LocalID: f.LocalID, Run: f.Run}
	c.All = c == api.ConflictChoice{}
	c.Winner = d.Winner
	if s := r.PostForm.Get("confirm"); s != "" {
		n, err := number64(s)
		if err != nil {
			return answer{}, err
		}
		c.Confirm = &n
	}
	d.Done, err = p.cfg.Backend.ResolveChosen(r.Context(), c)
	return answer{view: "decided", page: page{Title: "Conflicts", Nav: "conflicts", Data: d}}, err
}

// retryRun tries again what a run left over and goes to the run that does it.
func (p *Pages) retryRun(r *http.Request) (answer, error) {
	id, err := pathID(r)
	if err != nil {
		return answer{}, err
	}
	got, err := p.cfg.Backend.RetryRun(r.Context(), id)
	switch {
	case err != nil:
		return answer{}, err
	case got.Run != nil:
		return answer{goTo: runPath(got.Run.ID)}, nil
	case len(got.Parked.Runs) > 0:
		return answer{goTo: runPath(got.Parked.Runs[0].ID)}, nil
	}
	return answer{goTo: runPath(id)}, nil
}

type undoData struct {
	ID     int64
	Pushed bool
	Result api.Undone
	More   string // address of the next page of a preview; "" none
}

// previewUndo shows a page of what undoing a run would do.
func (p *Pages) previewUndo(r *http.Request) (answer, error) {
	id, err := pathID(r)
	if err != nil {
		return answer{}, err
	}
	q := r.URL.Query()
	d := undoData{ID: id, Pushed: q.Get("pushed") != ""}
	d.Result, err = p.cfg.Backend.UndoRun(r.Context(), id, undo.Options{DryRun: true, Pushed: d.Pushed, After: q.Get("after")})
	if d.Result.Next != "" {
		q.Set("after", d.Result.Next)
		d.More = runPath(id) + "/undo?" + q.Encode()
	}
	return p.undoPage(d, " --dry-run"), err
}

// undo undoes a page of a run. Where there is more, the page has a button that
// goes on.
func (p *Pages) undo(r *http.Request) (answer, error) {
	id, err := pathID(r)
	if err != nil {
		return answer{}, err
	}
	if err := r.ParseForm(); err != nil {
		return answer{}, badForm(err)
	}
	d := undoData{ID: id, Pushed: r.PostForm.Get("pushed") != ""}
	d.Result, err = p.cfg.Backend.UndoRun(r.Context(), id, undo.Options{Pushed: d.Pushed, After: r.PostForm.Get("after")})
	return p.undoPage(d, ""), err
}

func (p *Pages) undoPage(d undoData, flag string) answer {
	n := strconv.FormatInt(d.ID, 10)
	command := "tandem runs undo " + n + flag
	if d.Pushed {
		command += " --pushed"
	}
	return answer{view: "undo", page: page{Title: "Undo run " + n, Nav: "runs", Command: command, Data: d}}
}
