// Command embedded is a Go server with an API of its own behind Cloakroom, in one process.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

func main() {
	handler, err := server(cloakroom.Config{
		URL:   "http://localhost:8080",
		Keys:  []string{cloakroom.NewKey()}, // fresh each time, like the store: a restart signs everyone out
		Store: memory.New(),
		Providers: map[string]cloakroom.Provider{
			"main": {Issuer: os.Getenv("ISSUER"), ClientID: os.Getenv("CLIENT_ID"), ClientSecret: os.Getenv("CLIENT_SECRET")},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("localhost:8080", handler))
}

// server puts the gateway before the API: its endpoints under /auth/, Require around what needs a person.
func server(cfg cloakroom.Config) (http.Handler, error) {
	gw, err := cloakroom.New(context.Background(), cfg)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/auth/", gw)
	mux.Handle("/api/", gw.Require(http.HandlerFunc(hello)))
	mux.Handle("/", http.RedirectHandler("/api/hello", http.StatusFound))
	return mux, nil
}

// hello is the API. It knows who is calling, and the access token if it wants to call others in the person's name.
func hello(w http.ResponseWriter, r *http.Request) {
	s, _ := cloakroom.FromContext(r.Context())
	fmt.Fprintf(w, "hello %s\nyour access token has %d characters and stays here\n", s.Grant.Subject, len(s.Grant.Tokens.Access))
}
