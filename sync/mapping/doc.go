// Package mapping is the mapping manual of a connector: which remote path goes
// with which local column, and how a value is brought into the form in which
// the two sides can be compared and stored.
//
// A Manual is compiled once and then used for every record, by any number of
// goroutines. Values travel in slots: the i-th value of a slice belongs to the
// i-th field. The package is pure: no clock, no I/O, no logging.
//
// Three forms of a value occur. A raw value is what a side said. The canonical
// remote form (CanonRemote) is the raw remote value with its spelling made
// unique: what the hash and the remote half of a base hold. The canonical local
// form (ToLocal, CanonLocal) is the value in the field's type: what is compared
// with the row, written to it, and held by the local half of a base.
package mapping
