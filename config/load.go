package config

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/tandem-sync/tandem/channels"
)

// MaxSize is the largest configuration in bytes.
const MaxSize = 1 << 20

// Load reads the configuration at path. An empty path is DefaultPath, which may
// be missing: the defaults hold then. env looks up environment variables, as
// os.LookupEnv does. The File is never nil; with problems it holds what could
// be understood, so that Check can look at the rest.
func Load(path string, env func(string) (string, bool)) (*File, Problems) {
	name := path
	if name == "" {
		name = DefaultPath
	}
	data, err := read(name)
	switch {
	case err == nil:
		return Parse(name, data, env)
	case path == "" && errors.Is(err, fs.ErrNotExist):
		f, ps := Parse(name, nil, env)
		f.Path = ""
		return f, ps
	}
	f := Default()
	f.Path = name
	fix := "check the path and its permissions"
	if errors.Is(err, fs.ErrNotExist) {
		fix = "name another file, or write one with: tandem init"
	}
	return f, Problems{{File: name, Message: "cannot be read: " + reason(err), Fix: fix}}
}

// Validate is Load and Check together: every problem at once.
func Validate(path string, env func(string) (string, bool), reg *channels.Registry) (*File, Problems) {
	f, ps := Load(path, env)
	return f, ps.And(f.Check(reg))
}

// read reads at most one byte more than MaxSize, which Parse then refuses.
func read(name string) ([]byte, error) {
	file, err := os.Open(name) //nolint:gosec // the path is the caller's to choose
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	return data, errors.Join(err, file.Close())
}

// reason is err without the path, which the problem names already.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// Parse reads a configuration from data; name stands for it in problems. See
// Load for env and for the File that comes with problems.
func Parse(name string, data []byte, env func(string) (string, bool)) (*File, Problems) {
	d := &decoder{file: Default(), name: name, env: env}
	d.file.Path = name
	d.file.places = places{at: map[string]place{}, faulty: map[string]bool{}, hidden: map[string]bool{}}
	if root := d.tree(data); root != nil {
		d.top(root)
	}
	d.variables()
	return d.file, Problems(nil).And(d.problems)
}
