// Package workers does the work: the fleet that consumes jobs, the processors
// that carry them out, the relay that brings committed messages to the broker
// and the sweeper that makes up for every message that got lost.
package workers
