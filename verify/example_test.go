package verify_test

import (
	"fmt"
	"log"
	"net/http"

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
