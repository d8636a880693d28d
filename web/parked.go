package web

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/store"
)

// parkedFilter is what the page was asked to show.
type parkedFilter struct {
	Channel, Kind, Reason string
	Run                   int64
	Resolved              bool
}

func filterOf(q url.Values) (f parkedFilter, err error) {
	f = parkedFilter{Channel: q.Get("channel"), Kind: q.Get("kind"), Reason: q.Get("reason"), Resolved: q.Get("resolved") != ""}
	f.Run, err = number64(q.Get("run"))
	return f, err
}

// choice names the open items of the filter.
func (f parkedFilter) choice() api.ParkedChoice {
	c := api.ParkedChoice{Channel: f.Channel, Kind: store.ParkedKind(f.Kind), Reason: f.Reason, Run: f.Run}
	c.All = c == api.ParkedChoice{}
	return c
}

type parkedData struct {
	Parked   []api.Parked
	Older    string
	Channels []string
	Kinds    []string
	Filter   parkedFilter
}

// parkedKinds are what the filter offers.
var parkedKinds = []string{"record", "message", "mass_delete", "duplicate_identity", "create_unknown", "write_refused"}

func (p *Pages) parked(r *http.Request) (answer, error) {
	q := r.URL.Query()
	before, err := number64(q.Get("before"))
	if err != nil {
		return answer{}, err
	}
	d := parkedData{Kinds: parkedKinds}
	if d.Filter, err = filterOf(q); err != nil {
		return answer{}, err
	}
	if d.Channels, err = p.channelNames(r); err != nil {
		return answer{}, err
	}
	f := d.Filter
	got, err := p.cfg.Backend.Parked(r.Context(), api.ParkedQuery{
		Channel: f.Channel, Kind: store.ParkedKind(f.Kind), Reason: f.Reason, Run: f.Run, Resolved: f.Resolved, Before: before,
	})
	d.Parked, d.Older = got.Parked, older("/parked", q, got.Next)
	return answer{view: "parked", page: page{Title: "Parked", Nav: "parked", Command: "tandem parked list", Data: d}}, err
}

func (p *Pages) channelNames(r *http.Request) ([]string, error) {
	list, err := p.cfg.Backend.Channels(r.Context())
	names := make([]string, 0, len(list))
	for _, c := range list {
		names = append(names, c.Name)
	}
	return names, err
}

func (p *Pages) parkedItem(r *http.Request) (answer, error) {
	id, err := pathID(r)
	if err != nil {
		return answer{}, err
	}
	item, err := p.cfg.Backend.ParkedItem(r.Context(), id)
	n := strconv.FormatInt(id, 10)
	return answer{view: "parkeditem", page: page{Title: "Parked " + n, Nav: "parked", Command: "tandem parked show " + n, Data: item}}, err
}

// retry tries one item again and goes to the run that does it.
func (p *Pages) retry(r *http.Request) (answer, error) {
	id, err := pathID(r)
	if err != nil {
		return answer{}, err
	}
	done, err := p.cfg.Backend.RetryParked(r.Context(), id)
	if err != nil || done.Run == nil {
		return answer{goTo: itemPath(id)}, err
	}
	return answer{goTo: runPath(done.ID)}, nil
}

func (p *Pages) skip(r *http.Request) (answer, error) {
	id, err := pathID(r)
	if err == nil {
		_, err = p.cfg.Backend.SkipParked(r.Context(), id)
	}
	return answer{goTo: itemPath(id)}, err
}

func itemPath(id int64) string { return "/parked/" + strconv.FormatInt(id, 10) }

type chosenData struct {
	Action string // "retry" or "skip"
	Filter parkedFilter
	Done   api.ParkedDone
}

// chosen deals with all open items of a filter: first it says how many they
// are, and only a second form with that number does it.
func (p *Pages) chosen(r *http.Request) (answer, error) {
	if err := r.ParseForm(); err != nil {
		return answer{}, badForm(err)
	}
	d := chosenData{Action: r.PostForm.Get("action")}
	var err error
	if d.Filter, err = filterOf(r.PostForm); err != nil {
		return answer{}, err
	}
	c := d.Filter.choice()
	if s := r.PostForm.Get("confirm"); s != "" {
		n, err := number64(s)
		if err != nil {
			return answer{}, err
		}
		c.Confirm = &n
	}
	switch d.Action {
	case "retry":
		d.Done, err = p.cfg.Backend.RetryChosen(r.Context(), c)
	case "skip":
		d.Done, err = p.cfg.Backend.SkipChosen(r.Context(), c)
	default:
		return answer{}, usage("there is no action %q", d.Action)
	}
	return answer{view: "chosen", page: page{Title: "Parked items", Nav: "parked", Data: d}}, err
}
