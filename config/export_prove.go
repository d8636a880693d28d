package config

import (
	"bytes"
	"errors"
	"fmt"
)

// prove reads the text back and compares it with what it was made of.
func (e *exporter) prove(text []byte, f *File) error {
	back, ps := Parse("the exported file", text, func(name string) (string, bool) {
		v, ok := e.env[name]
		return v, ok
	})
	if len(ps) > 0 {
		return ps.Err()
	}
	if len(back.Entities) != len(f.Entities) || len(back.Channels) != len(f.Channels) {
		return errors.New("the exported file reads back with fewer parts")
	}
	clearText := func(_, plain string) (string, error) { return plain, nil }
	for i := range f.Entities {
		x, err := f.Entities[i].MarshalStored()
		y, berr := back.Entities[i].MarshalStored()
		if err != nil || berr != nil || !bytes.Equal(x, y) {
			return fmt.Errorf("entity %s cannot be written as a file that reads back the same", f.Entities[i].Name)
		}
	}
	for i := range f.Channels {
		x, err := f.Channels[i].MarshalStored(clearText)
		y, berr := back.Channels[i].MarshalStored(clearText)
		if err != nil || berr != nil || f.Channels[i].Name != back.Channels[i].Name || !bytes.Equal(x, y) {
			return fmt.Errorf("channel %s cannot be written as a file that reads back the same%s", f.Channels[i].Name, where(&f.Channels[i], &back.Channels[i]))
		}
	}
	return nil
}

// where names the first field in which two channels differ.
func where(a, b *Channel) string {
	d, err := DiffChannel(a, b)
	if err != nil || len(d) == 0 {
		return ""
	}
	return ": " + d[0].Field
}
