// Package config reads tandem.yaml: strict YAML in, one File out, and every
// fault of it at once with its line, its column and what to do about it.
//
// Reading has three steps. The text becomes a tree of plain nodes: aliases and
// merges are resolved, ${NAME} is taken from the environment, doubled keys and
// whatever could grow without end are refused (tree.go). The tree becomes a
// File: unknown keys and wrong shapes are reported (decode*.go). Check judges
// the File as a whole: names, references, schedules, the mapping and the
// settings of each channel's type (check*.go).
//
// A value that came from the environment or that is a secret is never quoted in
// a Problem.
package config
