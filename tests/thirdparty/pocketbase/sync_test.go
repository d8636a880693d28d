package pocketbase

import (
	"database/sql"
	"fmt"
	"testing"
	"time"
)

// slowly makes a sync of the contacts take some seconds, so that it can be
// interrupted: 15 pages of 50 contacts a second.
var slowly = []string{"rate_limit: 100/1s", "rate_limit: 15/1s", "size: 200", "size: 50"}

func TestEmbedded(t *testing.T) {
	t.Parallel()
	s := remote(t)
	d := embedded(t, s)
	d.tandem(t, nil, "validate")
	followsEdits(t, s, d)
}

func TestFleet(t *testing.T) {
	t.Parallel()
	s := remote(t)
	d := fleet(t, s)
	d.serve(t, "--roles", "worker")
	d.serve(t, "--roles", "worker")
	d.serve(t, "--roles", "scheduler,relay,web")
	d.ready(t)
	followsEdits(t, s, d)
	d.query(t, func(db *sql.DB) error {
		var touched int
		err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM contacts WHERE note <> 'ours'").Scan(&touched)
		if err == nil && touched > 0 {
			err = fmt.Errorf("%d values of a column that is not mapped were changed", touched)
		}
		return err
	})
}

// followsEdits is the main job: everything arrives, then what changes, then
// what was deleted, and in the end there is nothing left to do.
func followsEdits(t *testing.T, s *Server, d *deployment) {
	t.Helper()
	// What was just stored is inside the overlap of the next sync; wait until
	// the seeded contacts are not, so that the incremental sync can be told
	// from a full one.
	time.Sleep(time.Until(built.seededAt.Add(8 * time.Second)))
	first := d.sync(t)
	if first.Created != contacts || first.Read != contacts {
		t.Fatalf("first sync: %+v, want %d created", first, contacts)
	}
	agree(t, s, d)

	gone := edit(t, s)
	second := d.sync(t)
	if second.Read >= contacts || second.Updated != 20 || second.Created != 5 || second.Deleted != 0 {
		t.Fatalf("incremental sync: %+v, want 20 updated and 5 created without reading everything", second)
	}
	agree(t, s, d, gone...)

	full := d.sync(t, "--full")
	if full.Read != contacts+5-10 || full.Deleted != 10 || full.Updated != 0 || full.Created != 0 || full.Mode != "full" {
		t.Fatalf("full sync: %+v, want %d read, 10 deleted and nothing else", full, contacts+5-10)
	}
	agree(t, s, d)

	again := d.sync(t, "--full")
	if again.Unchanged != again.Read || again.Deleted != 0 {
		t.Fatalf("second full sync: %+v, want nothing but unchanged", again)
	}
	agree(t, s, d)
}

// edit changes 20 contacts, creates 5 and deletes 10 in PocketBase, and returns
// the addresses of the deleted ones.
func edit(t *testing.T, s *Server) (gone []string) {
	t.Helper()
	ctx := t.Context()
	byEmail := map[string]Contact{}
	all, err := s.All(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		byEmail[c.Email] = c
	}
	for i := range 20 {
		c := byEmail[Numbered(i*211).Email]
		change := map[string]any{"phone": fmt.Sprintf("+1 555 %04d", i), "score": 0.25 + float64(i), "active": !c.Active}
		if i%2 == 0 {
			change["birthday"], change["tags"] = "", nil
		}
		if err := s.Update(ctx, c.ID, change); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		if _, err := s.Create(ctx, Numbered(contacts+i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		c := byEmail[Numbered(1+i*307).Email]
		if err := s.Delete(ctx, c.ID); err != nil {
			t.Fatal(err)
		}
		gone = append(gone, c.Email)
	}
	return gone
}

// A service killed in the middle of a sync goes on at the last batch when it is
// started again: nothing is lost, nothing is done twice.
func TestEmbeddedKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	s := remote(t)
	d := embedded(t, s, slowly...)
	p := d.serve(t)
	d.ready(t)
	var accepted run
	d.tandem(t, &accepted, "sync", "pocketbase", "-o", "json")
	d.interrupt(t, p)

	d.serve(t)
	d.ready(t)
	d.resumes(t, s, accepted.ID)
}

// A worker killed in the middle of a sync is taken over by another one when its
// lease has ended.
func TestFleetWorkerKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	s := remote(t)
	d := fleet(t, s, append(slowly, "entities:", "workers: {lease: 5s}\nentities:")...)
	first := d.serve(t, "--roles", "worker")
	d.serve(t, "--roles", "scheduler,relay,web")
	d.ready(t)
	var accepted run
	d.tandem(t, &accepted, "sync", "pocketbase", "-o", "json")
	eventually(t, time.Minute, "contacts arrive", func() bool { return d.count(t) > 0 })
	d.serve(t, "--roles", "worker") // it finds the lease taken
	d.interrupt(t, first)
	d.resumes(t, s, accepted.ID)
}

// interrupt kills p once contacts arrive, and before all have.
func (d *deployment) interrupt(t *testing.T, p *process) {
	t.Helper()
	eventually(t, time.Minute, "contacts arrive", func() bool { return d.count(t) > 0 })
	p.kill(t)
	n := d.count(t)
	if n == 0 || n >= contacts {
		t.Fatalf("killed with %d of %d contacts, which is not the middle", n, contacts)
	}
	t.Logf("killed with %d of %d contacts", n, contacts)
}

// resumes waits for the end of a run that was interrupted.
func (d *deployment) resumes(t *testing.T, s *Server, id int64) {
	t.Helper()
	var r run
	start := time.Now()
	eventually(t, 2*time.Minute, "the run ends", func() bool {
		r = d.show(t, id)
		return r.Status != "planned" && r.Status != "preparing" && r.Status != "execution"
	})
	t.Logf("ended %v after the kill: %+v", time.Since(start).Round(time.Millisecond), r)
	// Counted once: what was committed before the kill was not read again as
	// new, and what was not committed was not counted.
	if r.Status != "finished" || r.Created != contacts || r.Read != contacts || r.Parked != 0 {
		t.Fatalf("resumed run: %+v, want %d created and read", r, contacts)
	}
	agree(t, s, d)
}
