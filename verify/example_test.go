package verify_test

import (
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/cloakroom-go/cloakroom/verify"
)

func Example() {
	v, err := verify.New(verify.Options{
		Issuers:  []verify.Issuer{{URL: "https://login.example.com/"}},
		Audience: "https://api.example.com",
	})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/api/me", v.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, _ := verify.FromContext(r.Context())
		fmt.Fprintf(w, "you are %s at %s", t.Subject, t.Issuer)
	})))
	http.Handle("POST /api/notes", v.RequireScopes(http.NotFoundHandler(), "notes:write"))
	log.Fatal(http.ListenAndServe("127.0.0.1:3000", nil))
}

// The API is on a sibling host of the gateway's, which gives its pages the token in cookies of their common domain. Where tokens are no
// JWTs the issuer is asked. Both are the operator's choice: no handler depends on it.
func Example_cookies() {
	v, err := verify.New(verify.Options{
		Issuers: []verify.Issuer{{
			URL:           "https://login.example.com/",
			Introspection: verify.Introspection{ClientID: os.Getenv("CLIENT_ID"), ClientSecret: os.Getenv("CLIENT_SECRET")}, // none: not asked
		}},
		Audience: "https://api.example.com",
		URL:      "https://api.example.com",
		Gateway: &verify.Gateway{
			URL: "https://app.example.com", Domain: "example.com",
			CSRF: verify.CSRFToken, CSRFKey: os.Getenv("CSRF_KEY"), // of cloakroom keys csrf
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/notes", v.Require(http.NotFoundHandler()))
	log.Fatal(http.ListenAndServe("127.0.0.1:3000", nil))
}
