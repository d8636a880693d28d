package main

import "strings"

// roles are the parts of the service a process runs.
type roles struct{ worker, scheduler, relay, web bool }

func allRoles() roles { return roles{true, true, true, true} }

// parseRoles reads "all" or a list separated by commas.
func parseRoles(s string) (roles, error) {
	var r roles
	for name := range strings.SplitSeq(s, ",") {
		switch strings.TrimSpace(name) {
		case "all":
			r = allRoles()
		case "worker":
			r.worker = true
		case "scheduler":
			r.scheduler = true
		case "relay":
			r.relay = true
		case "web":
			r.web = true
		default:
			return r, usagef("role %q: want all, or some of worker, scheduler, relay, web", name)
		}
	}
	return r, nil
}

func (r roles) names() []string {
	var out []string
	for _, p := range []struct {
		on   bool
		name string
	}{{r.worker, "worker"}, {r.scheduler, "scheduler"}, {r.relay, "relay"}, {r.web, "web"}} {
		if p.on {
			out = append(out, p.name)
		}
	}
	return out
}
