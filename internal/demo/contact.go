package demo

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// Contact is one record of the remote. The fields that a broken record spoils
// are kept as JSON so that they can hold anything.
type Contact struct {
	ID       string          `json:"id"`
	Email    *string         `json:"email"`
	Name     string          `json:"name"`
	Phone    string          `json:"phone"`
	City     Address         `json:"address"`
	Birthday json.RawMessage `json:"birthday"`
	Orders   json.RawMessage `json:"orders"`
	Updated  time.Time       `json:"updated"`
}

// Address is nested to show that mappings reach into objects.
type Address struct {
	City string `json:"city"`
}

// Fields are a contact's values in the text form in which the demo's local
// table holds them. A nil Email stands for null.
type Fields struct {
	Email    string
	Name     string
	Phone    string
	City     string
	Birthday string
	Orders   string
}

// Fields gives the contact as the local table must hold it once synchronized.
func (c Contact) Fields() Fields {
	f := Fields{Name: c.Name, Phone: c.Phone, City: c.City.City, Orders: string(c.Orders)}
	if c.Email != nil {
		f.Email = *c.Email
	}
	_ = json.Unmarshal(c.Birthday, &f.Birthday) // stays empty for what is no text
	return f
}

var (
	firstNames = []string{
		"Ada", "Alan", "Barbara", "Claude", "Dorothy", "Edsger", "Emmy", "Grace", "Hedy", "John",
		"Katherine", "Leslie", "Margaret", "Niklaus", "Radia", "Sophie", "Tony", "Ursula", "Víctor", "Zoë",
	}
	lastNames = []string{
		"Allen", "Babbage", "Curie", "Dijkstra", "Euler", "Franklin", "Gödel", "Hopper", "Ito",
		"Johnson", "Kovalevskaya", "Lamport", "Meitner", "Noether", "O'Neil", "Perlman", "Quine", "Ritchie", "Şahin", "Turing",
	}
	cities = []string{
		"Amsterdam", "Berlin", "Brno", "Córdoba", "Genève", "İzmir", "København", "Leeds", "Lyon", "München",
		"Oslo", "Porto", "Reykjavík", "Tallinn", "Wien", "Zürich",
	}
)

// person makes the n-th good contact; the same n and rnd give the same one.
func person(n int, rnd *rand.Rand, updated time.Time) Contact {
	first, last := firstNames[rnd.IntN(len(firstNames))], lastNames[rnd.IntN(len(lastNames))]
	email := fmt.Sprintf("contact%04d@example.com", n)
	born := time.Date(1950+rnd.IntN(55), time.Month(1+rnd.IntN(12)), 1+rnd.IntN(28), 0, 0, 0, 0, time.UTC)
	return Contact{
		ID:       contactID(n),
		Email:    &email,
		Name:     first + " " + last,
		Phone:    fmt.Sprintf("+49 30 %07d", rnd.IntN(10_000_000)),
		City:     Address{City: cities[rnd.IntN(len(cities))]},
		Birthday: quoted(born.Format(time.DateOnly)),
		Orders:   json.RawMessage(strconv.Itoa(rnd.IntN(500))),
		Updated:  updated,
	}
}

func contactID(n int) string { return fmt.Sprintf("c%05d", n) }

func quoted(s string) json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil { // a Go string always marshals
		panic(err)
	}
	return b
}

// spoil breaks a contact in the n-th way and says how, for the closing report.
func spoil(c *Contact, n int) string {
	switch n % brokenKinds {
	case 0:
		c.Birthday = quoted("1987-02-31")
		return "the birthday is a day that does not exist"
	case 1:
		c.Orders = quoted("about a dozen")
		return "the number of orders is a sentence"
	case 2:
		c.Email = nil
		return "the e-mail address is null, the column refuses null"
	case 3:
		same := fmt.Sprintf("contact%04d@example.com", 1)
		c.Email = &same
		return "the e-mail address belongs to another contact, the column is unique"
	case 4:
		c.Birthday = quoted("last spring")
		return "the birthday is no date"
	case 5:
		c.Orders = json.RawMessage("12.5")
		return "the number of orders is no whole number"
	}
	c.Birthday = json.RawMessage(`{"day":1,"month":"May"}`)
	return "the birthday is an object"
}

const brokenKinds = 7
