// Package demo is the emulated remote of `tandem demo`: a small REST service
// with contacts that behaves like a real one on a bad day. It pages, filters by
// time, answers 429 now and then, lists tombstones, and holds a handful of
// records that no local table accepts.
//
// It also compares what the remote holds with what a local table holds, record
// by record, so that the demo proves its result instead of claiming it.
package demo
