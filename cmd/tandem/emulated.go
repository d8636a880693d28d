package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/tandem-sync/tandem/fault"
)

// serveEmulated serves an emulated remote at the address until close is called;
// connections under way are cut then.
func serveEmulated(ctx context.Context, address string, h http.Handler) (url string, closeServer func() error, err error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return "", nil, fault.New(fault.Permanent, fault.CodeConfig, "", "listen at %s: %w", address, err).
			WithHint("choose another address").WithWhere("--listen")
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	return serverURL(l.Addr().String()), func() error {
		err := srv.Close()
		if serr := <-done; !errors.Is(serr, http.ErrServerClosed) {
			err = errors.Join(err, serr)
		}
		return err
	}, nil
}
