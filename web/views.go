package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/store"
)

// underWay are the states of runs that are not over.
var underWay = []store.Status{store.StatusPlanned, store.StatusPreparing, store.StatusExecution}

type overviewData struct {
	Channels []api.Channel
	Tiles    tiles
	Now      []api.Run // under way
	Recent   []api.Run
	Parked   []api.Parked
}

// tiles are the counts at the top.
type tiles struct {
	Channels, Failing, Disabled int
	Running, Waiting            int
	Parked                      int
	More                        bool // more are parked than were counted
}

func (p *Pages) overview(r *http.Request) (answer, error) {
	var d overviewData
	var err error
	b, ctx := p.cfg.Backend, r.Context()
	if d.Channels, err = b.Channels(ctx); err != nil {
		return answer{}, err
	}
	now, err := b.Runs(ctx, api.RunQuery{Status: underWay, Limit: 100})
	if err != nil {
		return answer{}, err
	}
	recent, err := b.Runs(ctx, api.RunQuery{Status: []store.Status{store.StatusFinished, store.StatusFailed, store.StatusCancelled}, Limit: 10})
	if err != nil {
		return answer{}, err
	}
	parked, err := b.Parked(ctx, api.ParkedQuery{Limit: 500})
	if err != nil {
		return answer{}, err
	}
	d.Now, d.Recent, d.Parked = now.Runs, recent.Runs, parked.Parked[:min(5, len(parked.Parked))]
	d.Tiles = tiles{Channels: len(d.Channels), Parked: len(parked.Parked), More: parked.Next != nil}
	for _, c := range d.Channels {
		if !c.Enabled {
			d.Tiles.Disabled++
		} else if c.LastRun != nil && c.LastRun.Status == store.StatusFailed {
			d.Tiles.Failing++
		}
	}
	for _, run := range d.Now {
		if run.Waiting != nil || run.Status == store.StatusPlanned {
			d.Tiles.Waiting++
		} else {
			d.Tiles.Running++
		}
	}
	return answer{view: "overview", page: page{Title: "Overview", Nav: "overview", Command: "tandem runs list", Live: true, Data: d}}, nil
}

func (p *Pages) channels(r *http.Request) (answer, error) {
	list, err := p.cfg.Backend.Channels(r.Context())
	return answer{view: "channels", page: page{Title: "Channels", Nav: "channels", Command: "tandem channels list", Live: true, Data: list}}, err
}

type channelData struct {
	Channel api.ChannelDetail
	Runs    []api.Run
	Parked  api.ParkedPage
	Test    *api.TestResult
}

func (p *Pages) channelData(ctx context.Context, name string) (d channelData, err error) {
	b := p.cfg.Backend
	if d.Channel, err = b.Channel(ctx, name); err != nil {
		return d, err
	}
	runs, err := b.Runs(ctx, api.RunQuery{Channel: name, Limit: 10})
	if err != nil {
		return d, err
	}
	d.Runs = runs.Runs
	d.Parked, err = b.Parked(ctx, api.ParkedQuery{Channel: name, Limit: 100})
	return d, err
}

func (p *Pages) channel(r *http.Request) (answer, error) {
	name := r.PathValue("name")
	d, err := p.channelData(r.Context(), name)
	return answer{view: "channel", page: page{
		Title: "Channel " + name, Nav: "channels", Command: "tandem channels show " + shell(name), Live: true, Data: d,
	}}, err
}

// sync asks for a run on behalf of a person.
func (p *Pages) sync(r *http.Request) (answer, error) {
	if err := r.ParseForm(); err != nil {
		return answer{}, badForm(err)
	}
	req := api.SyncRequest{Trigger: store.TriggerManual, Mode: store.Mode(r.PostForm.Get("mode"))}
	if c := r.PostForm.Get("connector"); c != "" {
		req.Connectors = []string{c}
	}
	if r.PostForm.Get("dry_run") != "" {
		req.Flags = []string{"dry_run"}
	}
	run, err := p.cfg.Backend.Sync(r.Context(), r.PathValue("name"), req)
	return answer{goTo: runPath(run.ID)}, err
}

// test tries the channel and shows the steps on its page.
func (p *Pages) test(r *http.Request) (answer, error) {
	name := r.PathValue("name")
	res, err := p.cfg.Backend.TestChannel(r.Context(), name)
	if err != nil {
		return answer{}, err
	}
	d, err := p.channelData(r.Context(), name)
	d.Test = &res
	return answer{view: "channel", page: page{
		Title: "Channel " + name, Nav: "channels", Command: "tandem channels test " + shell(name), Data: d,
	}}, err
}

func (p *Pages) switchChannel(fn func(context.Context, string) (api.Channel, error)) func(*http.Request) (answer, error) {
	return func(r *http.Request) (answer, error) {
		name := r.PathValue("name")
		_, err := fn(r.Context(), name)
		return answer{goTo: "/channels/" + url.PathEscape(name)}, err
	}
}

type runsData struct {
	Runs            []api.Run
	Older           string // address of the next page; "" none
	Newest          bool
	Channels        []string
	Channel, Status string
}

var statuses = map[string][]store.Status{
	"": nil, "active": underWay, "finished": {store.StatusFinished}, "failed": {store.StatusFailed}, "cancelled": {store.StatusCancelled},
}

func (p *Pages) runs(r *http.Request) (answer, error) {
	q := r.URL.Query()
	status, ok := statuses[q.Get("status")]
	if !ok {
		return answer{}, usage("there is no status %q", q.Get("status"))
	}
	before, err := number64(q.Get("before"))
	if err != nil {
		return answer{}, err
	}
	d := runsData{Channel: q.Get("channel"), Status: q.Get("status"), Newest: before == 0}
	list, err := p.cfg.Backend.Channels(r.Context())
	if err != nil {
		return answer{}, err
	}
	for _, c := range list {
		d.Channels = append(d.Channels, c.Name)
	}
	got, err := p.cfg.Backend.Runs(r.Context(), api.RunQuery{Channel: d.Channel, Status: status, Before: before})
	d.Runs, d.Older = got.Runs, older("/runs", q, got.Next)
	return answer{view: "runs", page: page{Title: "Runs", Nav: "runs", Command: "tandem runs list", Live: d.Newest, Data: d}}, err
}

type runData struct {
	Run     api.Run
	Changes []store.Change
	More    bool // there are more changes than are shown
	Parked  api.ParkedPage
}

// shownChanges bounds the changes on a page; `tandem runs show` has all.
const shownChanges = 100

var errEnough = errors.New("enough")

func (p *Pages) run(r *http.Request) (answer, error) {
	id, err := pathID(r)
	if err != nil {
		return answer{}, err
	}
	var d runData
	b, ctx := p.cfg.Backend, r.Context()
	if d.Run, err = b.Run(ctx, id); err != nil {
		return answer{}, err
	}
	_, err = b.Changes(ctx, id, func(c store.Change) error {
		if len(d.Changes) == shownChanges {
			d.More = true
			return errEnough
		}
		d.Changes = append(d.Changes, c)
		return nil
	})
	if err != nil && !d.More {
		return answer{}, err
	}
	d.Parked, err = b.Parked(ctx, api.ParkedQuery{Run: id, Resolved: true, Limit: 20})
	n := strconv.FormatInt(id, 10)
	return answer{view: "run", page: page{Title: "Run " + n, Nav: "runs", Command: "tandem runs show " + n, Live: !d.Run.Status.Ended(), Data: d}}, err
}

func (p *Pages) cancel(r *http.Request) (answer, error) {
	id, err := pathID(r)
	if err == nil {
		_, err = p.cfg.Backend.CancelRun(r.Context(), id)
	}
	return answer{goTo: runPath(id)}, err
}
