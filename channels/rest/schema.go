package rest

import _ "embed"

// schema is the JSON Schema (2020-12) of the settings below a channel.
//
//go:embed schema.json
var schema []byte
