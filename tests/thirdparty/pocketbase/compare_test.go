package pocketbase

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// local reads the contacts table by a connection of our own, by e-mail address.
func (d *deployment) local(t *testing.T) map[string]Contact {
	t.Helper()
	score, birthday, tags := "CAST(score AS text)", "CAST(birthday AS text)", "CAST(tags AS text)"
	all := map[string]Contact{}
	d.query(t, func(db *sql.DB) error {
		rows, err := db.QueryContext(t.Context(), "SELECT email, first_name, last_name, phone, company, "+score+", active, "+birthday+", "+tags+" FROM contacts")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			c, err := scan(rows)
			if err != nil {
				return err
			}
			if _, twice := all[c.Email]; twice {
				return fmt.Errorf("%s is in the table twice", c.Email)
			}
			all[c.Email] = c
		}
		return rows.Err()
	})
	return all
}

func scan(rows *sql.Rows) (Contact, error) {
	var c Contact
	var first, last, phone, company, score, birthday, tags sql.NullString
	var active sql.NullBool
	if err := rows.Scan(&c.Email, &first, &last, &phone, &company, &score, &active, &birthday, &tags); err != nil {
		return c, err
	}
	c.FirstName, c.LastName, c.Phone, c.Company, c.Active = first.String, last.String, phone.String, company.String, active.Bool
	c.Birthday = birthday.String
	var err error
	if c.Score, err = strconv.ParseFloat(score.String, 64); err != nil {
		return c, fmt.Errorf("%s: score: %w", c.Email, err)
	}
	if tags.Valid {
		if err := json.Unmarshal([]byte(tags.String), &c.Tags); err != nil {
			return c, fmt.Errorf("%s: tags %q: %w", c.Email, tags.String, err)
		}
	}
	return c, nil
}

// shown gives a contact of PocketBase in the form the local table holds:
// no id of PocketBase's, a date without its midnight.
func shown(c Contact) Contact {
	c.ID = ""
	c.Birthday, _, _ = strings.Cut(c.Birthday, " ")
	return c
}

// agree fails the test unless both sides hold the same contacts with the same
// values. gone are addresses that may still be here though they are deleted there.
func agree(t *testing.T, s *Server, d *deployment, gone ...string) {
	t.Helper()
	there, err := s.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	here := d.local(t)
	for _, email := range gone {
		if _, ok := here[email]; !ok {
			t.Errorf("%s was deleted here by a sync that cannot know of deletions", email)
		}
		delete(here, email)
	}
	wrong := 0
	for _, c := range there {
		want := shown(c)
		got, ok := here[c.Email]
		delete(here, c.Email)
		if !ok || !reflect.DeepEqual(got, want) {
			if wrong++; wrong <= 5 {
				t.Errorf("%s:\n here  %+v (present: %v)\n there %+v", c.Email, got, ok, want)
			}
		}
	}
	for email := range here {
		if wrong++; wrong <= 10 {
			t.Errorf("%s is here but not in PocketBase", email)
		}
	}
	if wrong > 0 {
		t.Fatalf("%d of %d contacts differ", wrong, len(there))
	}
}
