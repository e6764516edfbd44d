package session

import (
	"testing"
	"time"
)

// Who looked before a token for one API was there, and joins after its flight has landed, gets that token: the provider is asked once.
func TestJoin_R1_WhatCameSinceTheCallerLooked(t *testing.T) {
	now := time.Now()
	own := &Session{ID: ID{1}, Grant: Grant{Tokens: Tokens{Access: "own", Refresh: "refresh"}}, Life: Life{Renewed: now}}
	first := &Session{ID: own.ID, Grant: Grant{Tokens: Tokens{Access: "first"}}, Life: Life{Renewed: now}}
	asked := 0
	n := NewRenewer(nil, func(string) (Provider, bool) { asked++; return nil, false }, nil, "api")
	n.apiTokens.Put(tokenKey{own.ID, "api"}, apiToken{s: first, own: "own", renewed: now}, 1, now)

	f := n.join(own, "api", nil)
	select {
	case <-f.done:
	default:
		t.Fatal("it asks for another one")
	}
	if f.s != first || f.err != nil || asked > 0 {
		t.Errorf("got %v, %v; the provider was looked for %d times", f.s, f.err, asked)
	}
}
