package channels

// Redactor is implemented by channels that know secrets.
type Redactor interface {
	// Redact gives a text without the channel's credentials.
	Redact(text string) string
}
