package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cloakroom-go/cloakroom/internal/accounts"
)

// accountEndpoints is the part of the route table that is there with accounts of our own.
func (g *Gateway) accountEndpoints() []endpoint {
	return slices.Concat([]endpoint{
		{"GET", accounts.SignInPath, document, g.signIn, "The page to sign in on, for a login that `login` began."},
		{"POST", accounts.SignInPath, entry, g.takeSignIn, "Its form. Goes on to `callback/accounts` with a code, or shows the page again."},
		{"POST", stepPath, entry, g.takeStep, "The second step of the same login, where the account has one: the `code` of an authenticator app, or a recovery code. Nothing is issued before it."},
		{"POST", passkeyPath, entry, g.takePasskey, "Signs in with a passkey, within the same login: what `navigator.credentials.get` returned for the page's challenge, which is good for 10 minutes and once. Nobody has to say who they are: the page asks by a button, and in the field for the name (`mediation: \"conditional\"`)."},
		{"GET", accounts.SignUpPath, document, g.signUp, "The page to register on. Not with `register: false`."},
		{"POST", accounts.SignUpPath, entry, g.takeSignUp, "Its form."},
		{"GET", signUpPasskeyPath, document, g.signUpPasskey, "The page to register on with a passkey in the place of a password. Not with `register: false`."},
		{"POST", signUpPasskeyPath, entry, g.takeSignUpPasskey, "Its form takes the `identifier`, then what `navigator.credentials.create` returned, which makes the account; with `accounts.verify_email` a mailed link does."},
		{"POST", "login", entry, g.loginJSON, "The same for a front end with a form of its own: `{\"identifier\", \"password\", \"code\"?, \"remember\"?}` as `application/json`. 200 with the body of `GET session` and the cookies; with `tokens.delivery: memory` also `access_token`, `token_type` and `expires_in`. 422 `wrong_credentials` for whatever does not match, `code_required` where the account has a second step: then the same again with the `code`; `wrong_code`."},
		{"POST", "register", entry, g.registerJSON, "Registers by `{\"identifier\", \"password\", \"name\"?, \"remember\"?}` and signs in, as above. 409 `identifier_taken`; 422 `bad_identifier`, `password_short`, `password_long`, `password_common`. Not with `register: false`. With `accounts.verify_email` it signs in nobody: 202 with `{\"expires_in\"}`, whether there is such an account, and a mailed link makes it."},
		{"POST", "password", guarded, g.changePassword, "Changes the password of the person who is signed in: `{\"current_password\", \"new_password\", \"code\"?}`. All other sessions of the person end; this one goes on under a new ticket, and is answered like `POST login`. 403 `wrong_password`; 422 `code_required` where the account has a second step, `wrong_code`, and, before anything is asked, `password_short`, `password_long`, `password_common`. A person without a password sets one by `{\"ceremony\", \"response\", \"new_password\"}`, from `POST passkeys/ask`."},
		{"GET", accountPath, document, g.account, "The person's own account: who they are, what they sign in with, their devices. Not an activity. What is done there is a form, which carries a token of its page whatever `csrf` says."},
		{"GET", accountPath + "/password", document, g.askPassword, "The page to change the password on. `/.well-known/change-password` at the root of the host leads there."},
		{"POST", accountPath + "/password", posted, g.takePassword, "Its form: `current_password` and `new_password`, with a second step a `code`, too. All other sessions of the person end."},
		{"POST", accountPath + "/device", posted, g.signOutDevice, "Ends another session of the person, by its `id`, and shows the account again."},
		{"POST", accountPath + "/sign-out", posted, g.signOut, "Ends this session, with `everywhere=1` all of the person's."},
		{"GET", "jwks", public, g.jwks, "The keys that access tokens are signed with (RFC 7517). May be kept for 5 minutes; a key is there for 10 before it signs."},
		{"GET", ".well-known/openid-configuration", public, g.metadata, "Issuer and address of the keys, for libraries that verify tokens."},
		{"POST", introspectPath, machine, g.introspect, "For the APIs of `accounts.introspection` alone: whether an access token is good now, and what it says (RFC 7662). A form with `token`; `client_secret_basic` or `client_secret_post`. Of tokens of both formats."},
		{"POST", revokePath, machine, g.revokeToken, "For the same: ends an access token before its time (RFC 7009), at once for whoever asks about it."},
		{"GET", ".well-known/oauth-authorization-server", public, g.metadata, "The same (RFC 8414); also at the root of the host, with the prefix behind it."},
	}, g.changeEndpoints(), g.factorEndpoints())
}

// foreignPaths are the endpoints that are there for people of somebody else's user table: they sign in, and change nothing here.
var foreignPaths = []string{
	accounts.SignInPath, "login", "jwks", introspectPath, revokePath,
	".well-known/openid-configuration", ".well-known/oauth-authorization-server",
}

// jwks publishes the keys.
func (g *Gateway) jwks(w http.ResponseWriter, _ *http.Request) error {
	return publish(w, "application/jwk-set+json", g.Accounts.JWKS())
}

// metadata says where the keys are, and that there is nothing else: we are an issuer of tokens, not a provider for other applications.
func (g *Gateway) metadata(w http.ResponseWriter, _ *http.Request) error {
	m := metadata{
		Issuer: g.Accounts.Issuer(), JWKS: g.own("jwks").String(), Algorithms: algorithmsOf(g.Accounts.JWKS()), SubjectTypes: []string{"public"},
		ResponseTypes: []string{}, GrantTypes: []string{},
	}
	if g.Accounts.Asked() {
		m.Introspection, m.Revocation = g.own(introspectPath).String(), g.own(revokePath).String()
		m.IntrospectionAuth, m.RevocationAuth = clientAuth, clientAuth
	}
	return publish(w, "application/json", m)
}

// metadata are those of RFC 8414 and OpenID Connect Discovery, as far as they are true here.
type metadata struct {
	Issuer            string   `json:"issuer"`
	JWKS              string   `json:"jwks_uri"`
	Algorithms        []string `json:"id_token_signing_alg_values_supported"`
	SubjectTypes      []string `json:"subject_types_supported"`
	ResponseTypes     []string `json:"response_types_supported"`
	GrantTypes        []string `json:"grant_types_supported"`
	Introspection     string   `json:"introspection_endpoint,omitempty"`
	IntrospectionAuth []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
	Revocation        string   `json:"revocation_endpoint,omitempty"`
	RevocationAuth    []string `json:"revocation_endpoint_auth_methods_supported,omitempty"`
}

// algorithmsOf are those of the keys that may have signed what is good now: more than one while another takes over.
func algorithmsOf(set jose.JSONWebKeySet) []string {
	names := make([]string, 0, 1)
	for _, key := range set.Keys {
		if !slices.Contains(names, key.Algorithm) {
			names = append(names, key.Algorithm)
		}
	}
	return names
}

// published says how long anybody may keep it. A key is there for longer before it signs.
var published = fmt.Sprintf("public, max-age=%d", accounts.JWKSLife/time.Second)

func publish(w http.ResponseWriter, kind string, v any) error {
	h := w.Header()
	h.Set("Cache-Control", published)
	h.Set("X-Content-Type-Options", "nosniff")
	return writeAs(w, kind, v)
}
