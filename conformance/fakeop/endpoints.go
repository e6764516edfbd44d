package fakeop

import (
	"cmp"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"log"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

var quiet = log.New(io.Discard, "", 0)

func readAll(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, 1<<20)) }

func (p *Provider) metadata(w http.ResponseWriter, _ *http.Request, _ url.Values) {
	at := func(path string) string { return p.server.URL + path }
	method := "client_secret_basic"
	if p.says.onlyPost {
		method = "client_secret_post"
	}
	m := map[string]any{
		"issuer":                                         at(""),
		"authorization_endpoint":                         at("/authorize"),
		"token_endpoint":                                 at("/token"),
		"jwks_uri":                                       at(p.jwks),
		"userinfo_endpoint":                              at("/userinfo"),
		"revocation_endpoint":                            at("/revoke"),
		"introspection_endpoint":                         at("/introspect"),
		"end_session_endpoint":                           at("/end"),
		"response_types_supported":                       []string{"id_token code", "code"},
		"response_modes_supported":                       []string{"query", "form_post"},
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          []string{"RS256", "ES256", "EdDSA"},
		"token_endpoint_auth_methods_supported":          []string{method},
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true,
	}
	if p.says.push {
		m["pushed_authorization_request_endpoint"] = at("/par")
		m["require_pushed_authorization_requests"] = true
	}
	for _, change := range p.says.metadata {
		change(m)
	}
	sendJSON(w, http.StatusOK, m)
}

func (p *Provider) publishKeys(w http.ResponseWriter, _ *http.Request, _ url.Values) {
	keys := p.keys.public()
	for _, change := range p.says.keys {
		keys = change(keys)
	}
	sendJSON(w, http.StatusOK, map[string]any{"keys": keys})
}

// authenticated checks the client, and answers if it is not ours.
func (p *Provider) authenticated(w http.ResponseWriter, r *http.Request, form url.Values) bool {
	id, secret, basic := r.BasicAuth()
	if basic {
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	}
	if basic && form.Has("client_secret") {
		p.broken("the client authenticated in two ways")
	}
	if !basic {
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	if id == ClientID && secret == ClientSecret && basic != p.says.onlyPost {
		return true
	}
	sendJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
	return false
}

func (p *Provider) push(w http.ResponseWriter, r *http.Request, form url.Values) {
	if !p.authenticated(w, r, form) {
		return
	}
	if form.Has("request_uri") {
		p.broken("a pushed request has a request_uri")
	}
	uri := "urn:ietf:params:oauth:request_uri:" + random(16)
	form.Del("client_secret")
	p.known.pushed[uri] = form
	sendJSON(w, http.StatusCreated, map[string]any{"request_uri": uri, "expires_in": 60})
}

func (p *Provider) authorize(w http.ResponseWriter, r *http.Request, form url.Values) {
	request := r.URL.Query()
	maps.Copy(request, form)
	if p.says.push {
		names := slices.Sorted(maps.Keys(request))
		if !slices.Equal(names, []string{"client_id", "request_uri"}) {
			p.broken("with PAR the browser carries client_id and request_uri alone, not %q", names)
		}
		uri := request.Get("request_uri")
		request = p.known.pushed[uri]
		delete(p.known.pushed, uri)
		if request == nil {
			http.Error(w, "unknown request_uri", http.StatusBadRequest)
			return
		}
	}
	p.checkRequest(request)
	code := random(16)
	p.known.codes[code] = &grant{request: request, person: p.says.person, authTime: p.says.now()}
	answer := url.Values{"code": {code}, "state": {request.Get("state")}, "iss": {p.server.URL}}
	for _, change := range p.says.answer {
		change(answer)
	}
	if request.Get("response_mode") == "form_post" {
		sendForm(w, request.Get("redirect_uri"), answer)
		return
	}
	http.Redirect(w, r, request.Get("redirect_uri")+"?"+answer.Encode(), http.StatusSeeOther)
}

// checkRequest is what the suite of the OpenID Foundation always checks of a client.
func (p *Provider) checkRequest(q url.Values) {
	for name, want := range map[string]string{"response_type": "code", "client_id": ClientID, "code_challenge_method": "S256"} {
		if q.Get(name) != want {
			p.broken("%s is %q, not %q", name, q.Get(name), want)
		}
	}
	if !slices.Contains(words(q.Get("scope")), "openid") {
		p.broken("scope %q lacks openid", q.Get("scope"))
	}
	for _, name := range []string{"state", "nonce"} {
		if len(q.Get(name)) < 22 {
			p.broken("%s %q carries less than 128 bits", name, q.Get(name))
		}
	}
	if len(q.Get("code_challenge")) != 43 || q.Get("redirect_uri") == "" {
		p.broken("code_challenge or redirect_uri is missing")
	}
	for name, values := range q {
		if len(values) > 1 && name != "resource" {
			p.broken("%s is there twice", name)
		}
	}
}

func sendForm(w http.ResponseWriter, action string, answer url.Values) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!doctype html><title>back</title><form method=\"post\" action=\"%s\">\n", html.EscapeString(action))
	for name := range answer {
		fmt.Fprintf(w, "<input type=\"hidden\" name=\"%s\" value=\"%s\">\n", html.EscapeString(name), html.EscapeString(answer.Get(name)))
	}
	fmt.Fprint(w, "<button>continue</button></form><script>document.forms[0].submit()</script>\n")
}

var hidden = regexp.MustCompile(`name="([^"]*)" value="([^"]*)"`)

func (p *Provider) readForm(res *http.Response) url.Values {
	page, err := readAll(res.Body)
	if err != nil {
		p.t.Fatalf("fakeop: read form: %v", err)
	}
	answer := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(string(page), -1) {
		answer.Set(html.UnescapeString(m[1]), html.UnescapeString(m[2]))
	}
	return answer
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request, form url.Values) {
	if !p.authenticated(w, r, form) {
		return
	}
	var g *grant
	switch form.Get("grant_type") {
	case "authorization_code":
		g = p.redeem(form)
	case "refresh_token":
		g = p.renew(form)
	default:
		p.broken("grant_type is %q", form.Get("grant_type"))
	}
	if g == nil {
		sendJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": "used, unknown or over"})
		return
	}
	scope := g.request.Get("scope")
	if narrower := form.Get("scope"); narrower != "" && !p.says.widens { // only a refresh has one
		scope = narrower
	}
	audience := cmp.Or(form.Get("audience"), form.Get("resource")) // RFC 8707 §2.2: any of those that were granted, which here is all
	if p.says.targets != nil && audience != "" && !slices.Contains(p.says.targets, audience) {
		sendJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_target", "error_description": "no such API"})
		return
	}
	sendJSON(w, http.StatusOK, p.issue(g, form.Get("grant_type") == "refresh_token", scope, audience))
}

func (p *Provider) redeem(form url.Values) *grant {
	g := p.known.codes[form.Get("code")]
	if g == nil {
		return nil
	}
	if g.spent {
		p.broken("a code was redeemed twice")
		return nil
	}
	g.spent = true
	verifier := form.Get("code_verifier")
	if len(verifier) < 43 || len(verifier) > 128 {
		p.broken("the verifier has %d characters", len(verifier))
	}
	if p.known.verifiers[verifier] {
		p.broken("a verifier was used twice")
	}
	p.known.verifiers[verifier] = true
	sum := sha256.Sum256([]byte(verifier))
	if base64.RawURLEncoding.EncodeToString(sum[:]) != g.request.Get("code_challenge") {
		p.broken("the verifier does not match the challenge")
		return nil
	}
	if form.Get("redirect_uri") != g.request.Get("redirect_uri") {
		p.broken("redirect_uri is %q, was %q", form.Get("redirect_uri"), g.request.Get("redirect_uri"))
		return nil
	}
	return g
}

// renew rotates. A refresh token that comes back kills its family.
func (p *Provider) renew(form url.Values) *grant {
	token := form.Get("refresh_token")
	g := p.known.refresh[token]
	if g == nil || g.dead {
		return nil
	}
	if g.current != token {
		g.dead = true
		return nil
	}
	granted := words(g.request.Get("scope"))
	for _, scope := range words(form.Get("scope")) {
		if !slices.Contains(granted, scope) {
			p.broken("a refresh asks for %q, which was not granted", scope)
		}
	}
	return g
}

func (p *Provider) issue(g *grant, refreshed bool, scope, audience string) map[string]any {
	now := p.says.now()
	access := p.accessToken(g, now, scope, audience)
	p.known.access[access] = g
	signer := &Signer{p.keys}
	claims := map[string]any{
		"iss": p.server.URL, "sub": g.person.subject, "aud": ClientID, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"auth_time": g.authTime.Unix(), "sid": "sid-1", "acr": "1", "jti": random(8),
		"at_hash": half(crypto.SHA256, access), "email": "user@example.com",
	}
	if !refreshed {
		claims["nonce"] = g.request.Get("nonce")
	}
	for _, change := range p.says.idToken {
		change(claims)
	}
	if refreshed {
		for _, change := range p.says.refreshed {
			change(claims)
		}
	}
	sign := p.says.sign
	if sign == nil {
		sign = (*Signer).Honest
	}
	answer := map[string]any{
		"access_token": access, "token_type": "Bearer", "expires_in": int(p.says.lifetime / time.Second),
		"id_token": sign(signer, claims), "scope": scope,
	}
	if slices.Contains(words(g.request.Get("scope")), "offline_access") {
		g.current = random(24)
		p.known.refresh[g.current] = g
		answer["refresh_token"] = g.current
	}
	for _, change := range p.says.tokens {
		change(answer)
	}
	return answer
}

// accessToken makes a JWT for the API (RFC 9068).
func (p *Provider) accessToken(g *grant, now time.Time, scope, audience string) string {
	audience = cmp.Or(audience, g.request.Get("audience"), g.request.Get("resource"), "api")
	claims := map[string]any{
		"iss": p.server.URL, "sub": g.person.subject, "aud": audience, "client_id": ClientID, "scope": scope,
		"iat": now.Unix(), "exp": now.Add(p.says.lifetime).Unix(), "jti": random(8),
	}
	for _, change := range p.says.access {
		change(claims)
	}
	if p.says.opaque {
		token := random(24)
		p.known.claims[token] = claims
		return token
	}
	var header map[string]any
	if p.says.accessTyp != "" {
		header = map[string]any{"typ": p.says.accessTyp}
	}
	token := (&Signer{p.keys}).With("ES256", p.keys.ec, p.keys.kid("ec"), claims, header)
	p.known.claims[token] = claims
	return token
}

// introspect says of unknown tokens no more than that they are (RFC 7662 §2.2).
func (p *Provider) introspect(w http.ResponseWriter, r *http.Request, form url.Values) {
	if !p.authenticated(w, r, form) {
		return
	}
	answer := map[string]any{"active": false}
	if claims, ok := p.known.claims[form.Get("token")]; ok {
		answer = map[string]any{"active": true, "token_type": "Bearer"}
		maps.Copy(answer, claims)
	}
	for _, change := range p.says.introspect {
		change(answer)
	}
	sendJSON(w, http.StatusOK, answer)
}

func (p *Provider) userinfo(w http.ResponseWriter, r *http.Request, form url.Values) {
	if r.URL.Query().Has("access_token") || form.Has("access_token") {
		p.broken("an access token outside the header")
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	g := p.known.access[token]
	if !ok || g == nil {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	claims := map[string]any{}
	maps.Copy(claims, g.person.claims)
	claims["sub"] = g.person.subject
	if p.says.signInfo != nil {
		claims["iss"], claims["aud"] = p.server.URL, ClientID
	}
	for _, change := range p.says.userinfo {
		change(claims)
	}
	if p.says.signInfo == nil {
		sendJSON(w, http.StatusOK, claims)
		return
	}
	w.Header().Set("Content-Type", "application/jwt")
	_, _ = io.WriteString(w, p.says.signInfo(&Signer{p.keys}, claims)) // a client that hung up
}

// revoke answers 200 to unknown tokens too (RFC 7009 §2.2).
func (p *Provider) revoke(w http.ResponseWriter, r *http.Request, form url.Values) {
	if !p.authenticated(w, r, form) {
		return
	}
	token := form.Get("token")
	p.known.revoked = append(p.known.revoked, token)
	if g := p.known.refresh[token]; g != nil {
		g.dead = true
	}
	delete(p.known.access, token)
	delete(p.known.claims, token)
	w.WriteHeader(http.StatusOK)
}

func (p *Provider) end(w http.ResponseWriter, r *http.Request, form url.Values) {
	q := r.URL.Query()
	maps.Copy(q, form)
	back := q.Get("post_logout_redirect_uri")
	if back == "" {
		fmt.Fprintln(w, "signed out")
		return
	}
	answer := url.Values{}
	if q.Has("state") {
		answer.Set("state", q.Get("state"))
	}
	for _, change := range p.says.answer {
		change(answer)
	}
	http.Redirect(w, r, back+"?"+answer.Encode(), http.StatusSeeOther)
}
