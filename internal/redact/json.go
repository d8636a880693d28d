package redact

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// secretWords are the parts of a key's name that say its value is a secret.
var secretWords = []string{
	"password", "passwd", "passphrase", "secret", "token", "authorization", "apikey", "privatekey", "credential",
}

// SecretKey reports whether a key's name says that its value is a secret, such
// as apiToken, client_secret or Authorization.
func SecretKey(name string) bool {
	name = strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == ' ' || r == '.' {
			return -1
		}
		return r
	}, strings.ToLower(name))
	for _, w := range secretWords {
		if strings.Contains(name, w) {
			return true
		}
	}
	return false
}

// JSON gives raw with the values of secret keys replaced by Mask; null and empty
// texts stay, and so does everything else, digit by digit. What is not JSON
// comes back as it is.
func JSON(raw json.RawMessage) json.RawMessage {
	if !mayHoldSecret(raw) {
		return raw
	}
	opts := []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
	dec := jsontext.NewDecoder(bytes.NewReader(raw), opts...)
	var out bytes.Buffer
	enc := jsontext.NewEncoder(&out, append(opts, jsontext.Multiline(false))...)
	if err := copyMasked(dec, enc); err != nil {
		return raw
	}
	return bytes.TrimSpace(out.Bytes())
}

// mayHoldSecret keeps the common payload from being written anew.
func mayHoldSecret(raw []byte) bool {
	low := bytes.ToLower(raw)
	for _, w := range []string{"pass", "secret", "token", "auth", "key", "cred", `\u`} {
		if bytes.Contains(low, []byte(w)) {
			return true
		}
	}
	return false
}

// copyMasked copies one JSON value.
func copyMasked(dec *jsontext.Decoder, enc *jsontext.Encoder) error {
	for {
		tok, err := dec.ReadToken()
		if err != nil {
			return err
		}
		name := ""
		if tok.Kind() == '"' {
			if kind, n := dec.StackIndex(dec.StackDepth()); kind == '{' && n%2 == 1 {
				name = tok.String()
			}
		}
		if err := enc.WriteToken(tok); err != nil {
			return err
		}
		if name != "" && SecretKey(name) {
			if err := maskNext(dec, enc); err != nil {
				return err
			}
		}
		if dec.StackDepth() == 0 {
			return nil
		}
	}
}

// maskNext replaces the value that follows.
func maskNext(dec *jsontext.Decoder, enc *jsontext.Encoder) error {
	v, err := dec.ReadValue()
	if err != nil {
		return err
	}
	if k := v.Kind(); k == 'n' || string(v) == `""` {
		return enc.WriteValue(v)
	}
	return enc.WriteToken(jsontext.String(Mask))
}
