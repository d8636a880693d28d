// Package api is Tandem's HTTP API and the one place that says how runs,
// channels and parked items look as JSON. Service answers from the store;
// Server puts any Backend behind HTTP; commands use either a Service or the
// HTTP client, and print the same types.
package api
