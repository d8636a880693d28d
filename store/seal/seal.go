// Package seal encrypts the secrets that Tandem keeps in its database:
// AES-256-GCM with the id of the key and the place of the secret bound to it,
// so that a sealed text cannot be moved to another channel or field.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	prefix  = "tandem:v1:"
	keySize = 32
)

// Errors of sealing. None of them shows a key or a secret.
var (
	// ErrKey says that a key is not 32 bytes in base64.
	ErrKey = errors.New("a key is 32 bytes in base64")
	// ErrUnknownKey says that the text was sealed with a key the ring lacks.
	ErrUnknownKey = errors.New("sealed with another key")
	// ErrTampered says that the text was changed or moved to another place.
	ErrTampered = errors.New("the sealed text was changed or belongs to another place")
)

// Keyring holds the key that seals and all keys that open. It is immutable and
// safe for concurrent use. The zero value cannot be used; see New.
type Keyring struct {
	primary string
	keys    map[string]cipher.AEAD
}

// New makes a ring from keys in base64 (standard or URL alphabet, with or
// without padding). The first one seals; the others only open what was sealed
// before a rotation.
func New(primary string, older ...string) (*Keyring, error) {
	k := &Keyring{keys: map[string]cipher.AEAD{}}
	for i, text := range append([]string{primary}, older...) {
		raw, err := decodeKey(text)
		if err != nil {
			return nil, err
		}
		block, err := aes.NewCipher(raw)
		if err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
		id := keyID(raw)
		k.keys[id] = aead
		if i == 0 {
			k.primary = id
		}
	}
	return k, nil
}

// NewKey makes a random key in base64.
func NewKey() string {
	raw := make([]byte, keySize)
	_, _ = rand.Read(raw) // never fails: crypto/rand ends the program instead
	return base64.StdEncoding.EncodeToString(raw)
}

func decodeKey(text string) ([]byte, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	text = strings.NewReplacer("-", "+", "_", "/").Replace(text)
	raw, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || len(raw) != keySize {
		return nil, ErrKey // the decoder's error would show a part of the key
	}
	return raw, nil
}

// keyID names a key without telling anything about it.
func keyID(raw []byte) string {
	sum := sha256.Sum256(append([]byte("tandem key id\x00"), raw...))
	return hex.EncodeToString(sum[:4])
}

// KeyID is the id of the key that seals.
func (k *Keyring) KeyID() string { return k.primary }

// Has reports whether the ring can open what the key of this id sealed.
func (k *Keyring) Has(keyID string) bool { return k.keys[keyID] != nil }

// Seal encrypts plain for a place such as "channel/crm/transport.token"; only
// Open with the same place gives it back.
func (k *Keyring) Seal(plain, place string) string {
	head := prefix + k.primary + ":"
	box := k.keys[k.primary].Seal(nil, nil, []byte(plain), []byte(head+place)) // #nosec G407 -- the cipher draws a random nonce itself
	return head + base64.RawStdEncoding.EncodeToString(box)
}

// Open gives back what was sealed for the place.
func (k *Keyring) Open(sealed, place string) (string, error) {
	id, body, ok := strings.Cut(strings.TrimPrefix(sealed, prefix), ":")
	if !ok || !IsSealed(sealed) {
		return "", ErrTampered
	}
	aead := k.keys[id]
	if aead == nil {
		return "", fmt.Errorf("key %q: %w", id, ErrUnknownKey)
	}
	box, err := base64.RawStdEncoding.DecodeString(body)
	if err != nil {
		return "", ErrTampered
	}
	plain, err := aead.Open(nil, nil, box, []byte(prefix+id+":"+place))
	if err != nil {
		return "", ErrTampered
	}
	return string(plain), nil
}

// IsSealed reports whether s looks like a sealed text.
func IsSealed(s string) bool { return strings.HasPrefix(s, prefix) }
