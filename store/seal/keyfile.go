package seal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const keyFileMode = 0o600

// KeyFile reads the ring's key from a file and makes the file, readable for
// its owner only, when there is none. Two processes that make it at once end
// with the same key. A symbolic link, or a file that others may read, is
// refused.
func KeyFile(path string) (*Keyring, error) {
	k, err := readKeyFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if err := writeKeyFile(path, NewKey()); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the key file: %w", err)
	}
	return readKeyFile(path)
}

func readKeyFile(path string) (_ *Keyring, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0) // #nosec G304 -- the operator names the file
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	defer func() { _ = f.Close() }() // read only
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if !st.Mode().IsRegular() || st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("key file %s has mode %v: others may read it; chmod 600 it", path, st.Mode().Perm())
	}
	const most = 1024
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	k, err := New(string(text))
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return k, nil
}

// writeKeyFile writes a whole, durable file under another name first, so that
// nobody ever reads half a key.
func writeKeyFile(path, key string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // the name is only a stopover
	_, err = f.WriteString(strings.TrimSpace(key) + "\n")
	if err = errors.Join(err, f.Chmod(keyFileMode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil { // fails when the file is there
		return err
	}
	return syncFolder(filepath.Dir(path))
}
