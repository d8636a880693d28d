package store

import (
	"net/netip"
	"strings"

	"github.com/lib/pq"

	"github.com/tandem-sync/tandem/fault"
)

// checkTLS refuses a connection that anybody on the way could read or pretend
// to be the server of: sslmode=require and verify-ca encrypt, but take a
// certificate made for another host. What does not leave the machine needs no
// TLS.
func checkTLS(op string, cfg pq.Config) error {
	if cfg.SSLMode == pq.SSLModeVerifyFull {
		return nil
	}
	hosts := append([]pq.ConfigMultihost{{Host: cfg.Host, Hostaddr: cfg.Hostaddr, Port: cfg.Port}}, cfg.Multi...)
	for _, h := range hosts {
		if staysHere(h) {
			continue
		}
		name := h.Host
		if name == "" {
			name = h.Hostaddr.String()
		}
		mode := string(cfg.SSLMode)
		if mode == "" {
			mode = string(pq.SSLModeRequire)
		}
		return fault.New(fault.Permanent, fault.CodeConfig, op,
			"sslmode=%s does not prove that %s is the server that is meant, and the password and every row go there", mode, name).
			WithHint("add sslmode=verify-full to `database:` (and sslrootcert=FILE where the authority is your own), " +
				"or permit it on a network that is trusted with network.allow_plaintext")
	}
	return nil
}

// staysHere says that a connection to the host cannot leave this machine: a
// socket in the file system, localhost or a loopback address.
func staysHere(h pq.ConfigMultihost) bool {
	if h.Hostaddr.IsValid() {
		return h.Hostaddr.Unmap().IsLoopback()
	}
	if h.Host == "" || strings.HasPrefix(h.Host, "/") || strings.HasPrefix(h.Host, "@") || strings.EqualFold(h.Host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(h.Host, "[]"))
	return err == nil && ip.Unmap().IsLoopback()
}
