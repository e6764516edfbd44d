package cloakroom_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/memory"
	"github.com/cloakroom-go/cloakroom/store/sqlite"
)

// A gateway in front of a whole application: a built front end, and an API that wants a bearer token.
func ExampleNew() {
	ctx := context.Background()
	store, err := sqlite.Open(ctx, "cloakroom.db")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	gw, err := cloakroom.New(ctx, cloakroom.Config{
		URL:   "https://app.example.com",
		Keys:  []string{"cloakroom-key-1-…"}, // as NewKey makes it; from a file, never from the source
		Store: store,
		Providers: map[string]cloakroom.Provider{
			"main": {Issuer: "https://login.example.com/", ClientID: "my-app", ClientSecret: "…", Audience: "https://api.example.com"},
		},
		Routes: []cloakroom.Route{
			{Path: "/api/", Upstream: "http://127.0.0.1:3000"},
			{Path: "/", Files: "dist", Auth: cloakroom.AuthOff},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServeTLS(":443", "cert.pem", "key.pem", gw))
}

// The API of a Go server behind the gateway. Who is not signed in does not reach it: a navigation goes to the login and comes
// back, everything else gets 401 and says where to sign in.
func ExampleGateway_Require() {
	store := memory.New()
	defer store.Close()
	ctx := context.Background()
	gw, err := cloakroom.New(ctx, cloakroom.Config{
		URL: "https://app.example.com", Keys: []string{cloakroom.NewKey()}, Store: store,
		Providers: map[string]cloakroom.Provider{
			"main": {Issuer: "https://login.example.com/", ClientID: "my-app", ClientSecret: "from a file"},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close(ctx)

	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := cloakroom.FromContext(r.Context())
		fmt.Fprintln(w, "hello", s.Grant.Claim("name"))
	})
	mux := http.NewServeMux()
	mux.Handle("/auth/", gw)
	mux.Handle("/api/", gw.Require(api))

	fetch := httptest.NewRecorder()
	mux.ServeHTTP(fetch, httptest.NewRequest("GET", "/api/hello", nil))
	fmt.Println(fetch.Code, fetch.Header().Get("Cloakroom"))

	visit := httptest.NewRequest("GET", "/api/hello?n=1", nil)
	visit.Header.Set("Sec-Fetch-Mode", "navigate")
	visit.Header.Set("Sec-Fetch-Dest", "document")
	navigation := httptest.NewRecorder()
	mux.ServeHTTP(navigation, visit)
	fmt.Println(navigation.Code, navigation.Header().Get("Location"))
	// Output:
	// 401 login-required
	// 302 /auth/login?return_to=%2Fapi%2Fhello%3Fn%3D1
}

// A handler behind Require, and how to test it without a gateway.
func ExampleFromContext() {
	hello := func(w http.ResponseWriter, r *http.Request) {
		s, ok := cloakroom.FromContext(r.Context())
		if !ok {
			http.Error(w, "who are you?", http.StatusUnauthorized) // only where Require was forgotten
			return
		}
		// Issuer and subject together are the person. An e-mail address is not: it changes, and may be given to another.
		fmt.Fprintf(w, "hello %s, known at %s as %s", s.Grant.Claim("name"), s.Grant.Issuer, s.Grant.Subject)
	}

	ada := &cloakroom.Session{Grant: session.Grant{
		Issuer: "https://login.example.com/", Subject: "4711", Claims: map[string]any{"name": "Ada"},
	}}
	r := httptest.NewRequest("GET", "/api/hello", nil)
	w := httptest.NewRecorder()
	hello(w, r.WithContext(session.NewContext(r.Context(), ada)))
	fmt.Println(w.Body)
	// Output: hello Ada, known at https://login.example.com/ as 4711
}
