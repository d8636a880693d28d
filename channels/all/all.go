// Package all registers every channel type that comes with Tandem. Import it
// for its side effect.
package all

import (
	_ "github.com/tandem-sync/tandem/channels/hubspot" // type hubspot
	_ "github.com/tandem-sync/tandem/channels/rest"    // type rest
)
