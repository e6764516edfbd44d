package cloakroom_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
)

// What nobody's browser sends and anybody can, with every pair of storage and delivery, at every kind of address. Each has one answer,
// the same wherever sessions rest and however the token goes on, and none is a fault of ours. What is wrong with cookies of a sealed session
// piece by piece is in TestSealed_S6_CookiesNobodyCanUse, tokens at an API elsewhere in package verify, its issuer's failures in
// TestIntrospection_A5_TheIssuerFails, files of keys in TestNewKeyring_S8_WhatIsRefused.
func TestBadInput_OneAnswerNeverA500(t *testing.T) {
	for _, storage := range []string{"store", "sealed"} {
		for _, delivery := range []string{"proxy", "cookie", "split", "memory"} {
			t.Run(storage+" "+delivery, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, taking(func(c *cloakroom.Config) { c.Cookie.Storage, c.Tokens.Delivery = storage, delivery }), padded(2000))
				b := r.browser()
				b.visit("/auth/login?return_to=/open/")
				cookies := b.cookie()
				first := sessionCookie
				if storage == "sealed" {
					first = part(0)
				}
				value := b.cookies[first].Value
				but := func(changed string) string { return strings.Replace(cookies, first+"="+value, changed, 1) }
				machine := r.machine(apiA)
				with := func(cookie, bearer string) http.Header {
					h := http.Header{"Cookie": {cookie}}
					if bearer != "" {
						h["Authorization"] = []string{bearer}
					}
					return h
				}
				const theirs = "theirs=1" // for a request without a cookie of ours
				// What an address that needs a session answers. A route that takes bearers has its own word where one comes.
				inputs := []struct {
					name        string
					header      http.Header
					status, api int // api: 0 is the same
				}{
					{"nothing", with(theirs, ""), 401, 0},
					{"a part missing", with(but("x=1"), ""), 401, 0},
					{"a part doubled", with(cookies+"; "+first+"="+value, ""), 400, 0},
					{"a part doubled, once empty", with(first+"=; "+cookies, ""), 400, 0},
					{"empty", with(but(first+"="), ""), 401, 0},
					{"one byte", with(but(first+"=1"), ""), 401, 0},
					{"64 kB", with(but(first+"=2"+strings.Repeat("A", 64<<10)), ""), 401, 0},
					{"altered", with(but(first+"="+flip(value, len(value)/2)), ""), 401, 0},
					{"of the other storage", with(sessionCookie+"=2AAAA; "+part(0)+"=2AAAA; "+part(1)+"=AAAA", ""), 401, 0},
					{"bytes that are no text", with(but(first+"=\xff\xfe\x80"), ""), 401, 0},
					{"a bearer of one byte", with(theirs, "Bearer x"), 401, 0},
					{"a bearer of 64 kB", with(theirs, "Bearer "+strings.Repeat("x", 64<<10)), 401, 0},
					{"a bearer that is not there", with(theirs, "Bearer"), 401, 400},
					{"alg none", with(theirs, "Bearer "+r.op.Signer().Unsigned(map[string]any{"alg": "none", "typ": "at+jwt"}, claimsOf(t, machine), "")), 401, 0},
					{"for another audience", with(theirs, "Bearer "+r.machine(apiB)), 401, 0},
					{"an ID token", with(theirs, "Bearer "+r.op.Signer().Honest(map[string]any{
						"iss": r.op.Issuer(), "sub": "ada", "aud": fakeop.ClientID, "nonce": "n", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
					})), 401, 0},
				}
				for _, in := range inputs {
					for _, to := range []struct{ method, path string }{
						{"GET", "/api/me"}, {"POST", "/api/me"}, {"GET", "/a/me"}, {"POST", "/a/me"}, {"POST", "/auth/refresh"}, {"POST", "/auth/token"},
						{"GET", "/auth/sessions"}, {"DELETE", "/auth/sessions/x"},
					} {
						want := in.status
						switch {
						case to.path == "/auth/token" && delivery != "memory":
							want = http.StatusNotFound
						case to.path == "/a/me" && in.api != 0:
							want = in.api
						}
						p := b.do(request{method: to.method, path: to.path, site: "same-origin", header: maps.Clone(in.header)})
						if p.Status != want {
							t.Errorf("%s, %s %s: %d, want %d: %.200s", in.name, to.method, to.path, p.Status, want, p.Body)
						}
					}
					// Looking is for everyone, unless which session is meant cannot be told.
					want := map[bool]int{true: 400, false: 200}[in.status == 400]
					if p := b.do(request{method: "GET", path: "/auth/session", site: "same-origin", header: maps.Clone(in.header)}); p.Status != want || strings.Contains(p.Body, "true") {
						t.Errorf("%s, session: %d, want %d: %.200s", in.name, p.Status, want, p.Body)
					}
					if p := b.do(request{method: "GET", path: "/api/me", site: "none", nav: true, header: maps.Clone(in.header)}); p.Status != 302 && p.Status != 303 && p.Status != in.status && p.Status != in.api {
						t.Errorf("%s, as a page: %d %.200s", in.name, p.Status, p.Body)
					}
				}
				// Two answers to the question who it is.
				want := map[bool]int{true: 401, false: 400}[delivery == "memory"] // there the page brings one, and it is the session's own
				if p := b.do(request{method: "GET", path: "/a/me", site: "same-origin", header: with(cookies, "Bearer "+machine)}); p.Status != want {
					t.Errorf("a header token beside cookies: %d, want %d", p.Status, want)
				}
				if r.hits() != 1 { // the page at which the login ended
					t.Errorf("%d requests reached the API", r.hits()-1)
				}
				if p := b.fetch("GET", "/auth/session"); !strings.Contains(p.Body, `"authenticated":true`) {
					t.Errorf("the session itself: %s", p.Body)
				}
				lines := slices.DeleteFunc(strings.Split(r.logs.String(), "\n"), func(line string) bool { return !strings.Contains(line, "level=ERROR") })
				if len(lines) > 0 {
					t.Errorf("a fault of ours: %s", lines[0])
				}
			})
		}
	}
}
