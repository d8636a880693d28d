package config

import (
	_ "embed"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
)

//go:embed starter_rest.yaml
var starterREST []byte

//go:embed starter_hubspot.yaml
var starterHubSpot []byte

// DefaultType is the channel type of a starter that names none.
const DefaultType = "rest"

// Starter gives a commented tandem.yaml for a channel type; "" is DefaultType.
// It passes Check as it is, once the environment variables it names are set. An
// unknown type is an error with code not_found, a type without a starter one
// with code usage.
func Starter(typeName string, reg *channels.Registry) ([]byte, error) {
	if typeName == "" {
		typeName = DefaultType
	}
	if _, err := reg.Get(typeName); err != nil {
		return nil, err
	}
	switch typeName {
	case DefaultType:
		return append([]byte(nil), starterREST...), nil
	case "hubspot":
		return append([]byte(nil), starterHubSpot...), nil
	}
	return nil, fault.New(fault.Permanent, fault.CodeUsage, "", "there is no starter for the channel type %q", typeName).
		WithHint("start from: tandem init " + DefaultType)
}
