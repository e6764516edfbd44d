package demo

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// audience is what the access tokens of the demonstration are for.
const audience = "urn:cloakroom:demo-api"

const maxForm = 16 << 10 // bytes of a request to the provider

// provider is an OpenID provider for demonstrations: it lets everyone in as anyone, and is strict about everything else.
// What must outlive a restart is in its ledger, the rest in memory.
type provider struct {
	issuer string // http://localhost:port
	client relyingParty
	life   time.Duration          // of access tokens
	note   func(what, why string) // tells what the provider did

	ledger   *ledger
	requests *shelf[authRequest] // sign-in pages on screen
	pushed   *shelf[url.Values]  // RFC 9126
	codes    *shelf[authCode]
	signIns  *shelf[signIn] // by the browser's sign-in cookie
	formKey  []byte         // of the forms' tokens

	mu     sync.Mutex
	recent []string // tokens
}

// relyingParty is the one client.
type relyingParty struct {
	id, secret string
	redirect   string   // redirect_uri, compared as text (RFC 9700 §2.1)
	signedOut  []string // post_logout_redirect_uris, compared as text
}

// signIn is one browser at the provider: single sign-on.
type signIn struct {
	person person
	sid    string
	at     time.Time
}

func newProvider(issuer string, client relyingParty, life time.Duration, l *ledger, note func(what, why string)) *provider {
	p := &provider{
		issuer: issuer, client: client, life: life, note: note, ledger: l,
		requests: newShelf[authRequest](10*time.Minute, 1000),
		pushed:   newShelf[url.Values](time.Minute, 1000),
		codes:    newShelf[authCode](time.Minute, 1000),
		signIns:  newShelf[signIn](12*time.Hour, 1000),
		formKey:  make([]byte, 32),
	}
	rand.Read(p.formKey)
	return p
}

// handler returns the provider's endpoints, and the laboratory's way in. Requests for another host are refused: a page elsewhere could have its own name
// resolve to this address.
func (p *provider) handler(enter http.HandlerFunc) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.configuration)
	mux.HandleFunc("GET /jwks", p.keys)
	mux.HandleFunc("POST /par", p.push)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /authorize", p.authorize)
	mux.HandleFunc("GET /signin", p.signInPage)
	mux.HandleFunc("POST /signin", p.signIn)
	mux.HandleFunc("GET /register", p.registerPage)
	mux.HandleFunc("POST /register", p.register)
	mux.HandleFunc("POST /continue", p.goOn)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /userinfo", p.userinfo)
	mux.HandleFunc("POST /userinfo", p.userinfo)
	mux.HandleFunc("POST /revoke", p.revoke)
	mux.HandleFunc("GET /signout", p.signOut)
	mux.HandleFunc("POST /signout", p.signOut)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { p.page(w, http.StatusOK, "about", nil) })
	mux.HandleFunc("GET /lab/enter", enter)
	mux.HandleFunc("GET /style.css", asset("text/css; charset=utf-8", "pages/style.css"))
	mux.HandleFunc("GET /send.js", asset("text/javascript; charset=utf-8", "pages/send.js"))
	host := strings.TrimPrefix(p.issuer, "http://")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != host {
			http.Error(w, "wrong host", http.StatusMisdirectedRequest)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		mux.ServeHTTP(w, r)
	})
}

// configuration is the provider's metadata (OpenID Connect Discovery §3, RFC 8414).
func (p *provider) configuration(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=60")
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                         p.issuer,
		"authorization_endpoint":                         p.issuer + "/authorize",
		"pushed_authorization_request_endpoint":          p.issuer + "/par",
		"token_endpoint":                                 p.issuer + "/token",
		"userinfo_endpoint":                              p.issuer + "/userinfo",
		"revocation_endpoint":                            p.issuer + "/revoke",
		"end_session_endpoint":                           p.issuer + "/signout",
		"jwks_uri":                                       p.issuer + "/jwks",
		"scopes_supported":                               []string{"openid", "profile", "email", "offline_access"},
		"response_types_supported":                       []string{"code"},
		"response_modes_supported":                       []string{"query", "form_post"},
		"grant_types_supported":                          []string{"authorization_code", "refresh_token"},
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          []string{string(jose.RS256)},
		"token_endpoint_auth_methods_supported":          []string{"client_secret_basic", "client_secret_post"},
		"revocation_endpoint_auth_methods_supported":     []string{"client_secret_basic", "client_secret_post"},
		"code_challenge_methods_supported":               []string{"S256"},
		"prompt_values_supported":                        []string{"none", "login", "consent", "select_account", "create"},
		"authorization_response_iss_parameter_supported": true,
		"request_parameter_supported":                    false,
		"request_uri_parameter_supported":                false,
		"claims_parameter_supported":                     false,
		"claims_supported": []string{"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "sid", "at_hash", "name",
			"preferred_username", "email", "email_verified"},
	})
}

func (p *provider) keys(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=60")
	writeJSON(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{p.ledger.page.SigningKey.Public()}})
}

// The pages.

//go:embed pages
var pageFiles embed.FS

var pages = template.Must(template.ParseFS(pageFiles, "pages/*.html"))

// page writes one of the provider's pages.
func (p *provider) page(w http.ResponseWriter, status int, name string, view any) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name+".html", view); err != nil {
		http.Error(w, "the page could not be written", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	// A form's target includes where its answer redirects to, so the gateway must be among them: browsers check each hop.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self' "+
		originOf(p.client.redirect)+"; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

// sorry shows what went wrong to a person who cannot be sent back.
func (p *provider) sorry(w http.ResponseWriter, status int, why string) {
	p.page(w, status, "sorry", map[string]any{"Why": why, "Back": originOf(p.client.redirect)})
}

func asset(kind, file string) http.HandlerFunc {
	body, err := pageFiles.ReadFile(file)
	return func(w http.ResponseWriter, r *http.Request) {
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "public, max-age=300")
		w.Write(body)
	}
}

// The cookies. The provider's have names of their own, and the forms' cookie is no use anywhere else.

const (
	signInCookie = "demo-provider-signin"
	formCookie   = "demo-provider-form"
)

func setCookie(w http.ResponseWriter, name, value string, sameSite http.SameSite) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, SameSite: sameSite}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// who returns the person that is signed in at the provider in r's browser.
func (p *provider) who(r *http.Request) (signIn, bool) {
	c, err := r.Cookie(signInCookie)
	if err != nil {
		return signIn{}, false
	}
	return p.signIns.get(c.Value)
}

// formToken ties a form to the browser it was shown in and to what it is about.
func (p *provider) formToken(w http.ResponseWriter, r *http.Request, about string) string {
	c, err := r.Cookie(formCookie)
	if err != nil || len(c.Value) != 26 {
		c = &http.Cookie{Value: rand.Text()}
		setCookie(w, formCookie, c.Value, http.SameSiteStrictMode)
	}
	return p.sign(c.Value, about)
}

func (p *provider) sign(cookie, about string) string {
	mac := hmac.New(sha256.New, p.formKey)
	mac.Write([]byte(cookie + "\n" + about))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// formIsOurs reports whether a posted form was shown by this provider, in this browser, about this.
func (p *provider) formIsOurs(r *http.Request, about string) bool {
	if http.NewCrossOriginProtection().Check(r) != nil {
		return false
	}
	c, err := r.Cookie(formCookie)
	return err == nil && subtle.ConstantTimeCompare([]byte(r.PostFormValue("token")), []byte(p.sign(c.Value, about))) == 1
}

func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}
