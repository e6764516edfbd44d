package storage

import (
	"context"
	"net/http"

	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// Storage is a session.Storage that passes on what its store says.
type Storage interface {
	session.Storage
	// Listen has f told of changes, after the storage has acted on them. f must not block.
	Listen(f func(session.Change))
}

// New returns the storage that o names, for the sessions of one origin. It follows the store's changes until ctx ends.
func New(ctx context.Context, store session.Store, ring *seal.Keyring, own origin.Origin, jar cookie.Jar, lives session.Options, o Options) (Storage, error) {
	switch o.Storage {
	case "", "store":
		return NewTickets(ctx, store, ring, jar, lives, o)
	case "sealed":
		return NewSealed(ctx, store, ring, own, jar, lives, o)
	}
	return nil, session.Fail(session.Internal, "storage", "%q is neither store nor sealed", o.Storage)
}

// Options are where sessions rest, and what their cookies obey.
type Options struct {
	Storage    string // "store" (default), with a ticket in the cookie, or "sealed" in the cookies themselves
	SameSite   string // "strict" (default) or "lax"
	CacheBytes int64  // memory for opened sessions; default 64 MiB
}

func (o Options) sameSite() (http.SameSite, error) {
	switch o.SameSite {
	case "", "strict":
		return http.SameSiteStrictMode, nil
	case "lax":
		return http.SameSiteLaxMode, nil
	}
	return 0, session.Fail(session.Internal, "same_site", "%q is neither strict nor lax", o.SameSite)
}

func (o Options) cacheBytes() int64 {
	if o.CacheBytes == 0 {
		return 64 << 20
	}
	return o.CacheBytes
}
