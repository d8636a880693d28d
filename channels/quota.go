package channels

import "time"

// Quota is what is left of one limit that a remote sets on calls.
type Quota struct {
	// Name says what is limited: "calls per day".
	Name string
	// Limit is how much there is in all and Left how much of it is left; -1 is
	// not known.
	Limit, Left int64
	// Resets is when all of it is there again, by the remote's clock; zero is not
	// known.
	Resets time.Time
}

// Quoter is implemented by channels whose remote tells what is left of its
// limits.
type Quoter interface {
	// Quota gives what the remote's last answer said, without a call: empty
	// before the first answer that said something.
	Quota() []Quota
}
