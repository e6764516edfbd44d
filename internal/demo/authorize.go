package demo

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// authRequest is an authorization request that was found good.
type authRequest struct {
	state, nonce, scope string
	challenge           string // S256
	prompt              []string
	hint                string
	maxAge              time.Duration // -1: none asked for
	formPost            bool
}

// authCode is what a code stands for.
type authCode struct {
	request authRequest
	signIn  signIn
	spent   string // the family that it was redeemed for
}

// oauthError is an error that the client is told.
type oauthError struct {
	Code string `json:"error"`
	Text string `json:"error_description,omitempty"`
}

func (e *oauthError) Error() string { return e.Code + ": " + e.Text }

const pushedPrefix = "urn:ietf:params:oauth:request_uri:"

// push takes a pushed authorization request (RFC 9126).
func (p *provider) push(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if !p.authenticate(w, r) {
		return
	}
	q := r.PostForm
	q.Del("client_secret")
	q.Set("client_id", p.client.id)
	if q.Get("redirect_uri") != p.client.redirect || q.Has("request_uri") {
		fail(w, &oauthError{"invalid_request", "redirect_uri is not the registered one, or there is a request_uri"})
		return
	}
	if _, err := readRequest(q); err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusCreated, map[string]any{"request_uri": pushedPrefix + p.pushed.put(q), "expires_in": 60})
}

// authorize is the authorization endpoint (RFC 6749 §3.1, OIDC Core §3.1.2).
func (p *provider) authorize(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.sorry(w, http.StatusBadRequest, "The request for a sign-in could not be read.")
		return
	}
	q := r.Form
	if q.Get("client_id") != p.client.id {
		p.sorry(w, http.StatusBadRequest, "The request names a client that is not known here.")
		return
	}
	if q.Has("request_uri") {
		pushed, ok := p.pushed.take(strings.TrimPrefix(q.Get("request_uri"), pushedPrefix))
		if !ok {
			p.sorry(w, http.StatusBadRequest, "This sign-in took too long, or was used before.")
			return
		}
		q = pushed
	}
	// Until the way back is known to be the client's own, nobody is sent there.
	if q.Get("redirect_uri") != p.client.redirect || len(q["redirect_uri"]) != 1 {
		p.sorry(w, http.StatusBadRequest, "The request wants an answer at an address that is not registered.")
		return
	}
	a, err := readRequest(q)
	if err != nil {
		p.answer(w, r, a, url.Values{"error": {err.Code}, "error_description": {err.Text}})
		return
	}
	now, signedIn := p.who(r)
	fresh := signedIn && (a.maxAge < 0 || time.Since(now.at) <= a.maxAge)
	switch {
	case slices.Contains(a.prompt, "none"):
		if !fresh {
			p.answer(w, r, a, url.Values{"error": {"login_required"}})
			return
		}
		p.grant(w, r, a, now)
	case slices.Contains(a.prompt, "create"):
		p.show(w, r, "/register", a)
	case !fresh, slices.Contains(a.prompt, "login"), slices.Contains(a.prompt, "select_account"):
		p.show(w, r, "/signin", a)
	default:
		p.note("single sign-on", "the provider knew this browser")
		p.grant(w, r, a, now)
	}
}

// readRequest checks everything but client and redirect_uri. What it read so far is returned with an error, so that it can
// be answered.
func readRequest(q url.Values) (authRequest, *oauthError) {
	a := authRequest{
		state: q.Get("state"), nonce: q.Get("nonce"), scope: q.Get("scope"), challenge: q.Get("code_challenge"),
		prompt: strings.Fields(q.Get("prompt")), hint: clip(q.Get("login_hint"), 64), maxAge: -1,
		formPost: q.Get("response_mode") == "form_post",
	}
	for name, values := range q {
		if len(values) > 1 && name != "resource" {
			return a, &oauthError{"invalid_request", "a parameter is given twice"}
		}
		if len(values[0]) > 2048 {
			return a, &oauthError{"invalid_request", "a parameter is too long"}
		}
	}
	if q.Has("max_age") {
		seconds, err := strconv.Atoi(q.Get("max_age"))
		if err != nil || seconds < 0 {
			return a, &oauthError{"invalid_request", "max_age is not a number of seconds"}
		}
		a.maxAge = time.Duration(min(seconds, 1<<30)) * time.Second
	}
	switch mode := q.Get("response_mode"); {
	case q.Get("response_type") != "code":
		return a, &oauthError{"unsupported_response_type", "only code is supported"}
	case mode != "" && mode != "query" && mode != "form_post":
		return a, &oauthError{"invalid_request", "response_mode is neither query nor form_post"}
	case q.Has("request"):
		return a, &oauthError{"request_not_supported", ""}
	case !slices.Contains(strings.Fields(a.scope), "openid"):
		return a, &oauthError{"invalid_scope", "openid is missing"}
	case q.Get("code_challenge_method") != "S256" || len(a.challenge) != 43:
		return a, &oauthError{"invalid_request", "PKCE with S256 is required"}
	case len(a.prompt) > 1 && slices.Contains(a.prompt, "none"):
		return a, &oauthError{"invalid_request", "prompt none stands alone"}
	}
	return a, nil
}

// show sends the browser to a page that shows the request.
func (p *provider) show(w http.ResponseWriter, r *http.Request, page string, a authRequest) {
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, page+"?request="+p.requests.put(a), http.StatusSeeOther)
}

// form is what the sign-in and the register page show.
type form struct {
	Request, Token        string
	Username, Name, Email string
	Signed                *person // who could just go on
	Mistake               string
	Gateway               string
	Elsewhere             string // the other page
}

func (p *provider) signInPage(w http.ResponseWriter, r *http.Request) {
	p.showForm(w, r, "signin", form{})
}
func (p *provider) registerPage(w http.ResponseWriter, r *http.Request) {
	p.showForm(w, r, "register", form{})
}

func (p *provider) showForm(w http.ResponseWriter, r *http.Request, name string, f form) {
	f.Request = r.FormValue("request")
	a, ok := p.requests.get(f.Request)
	if !ok {
		p.sorry(w, http.StatusBadRequest, "This sign-in took too long, or was finished before. Start again where you came from.")
		return
	}
	f.Token = p.formToken(w, r, f.Request)
	f.Gateway = originOf(p.client.redirect)
	status := http.StatusOK
	if f.Mistake != "" {
		status = http.StatusUnprocessableEntity
	} else if f.Username == "" {
		f.Username = a.hint
	}
	if now, signedIn := p.who(r); signedIn && slices.Contains(a.prompt, "select_account") {
		f.Signed = &now.person
	}
	p.page(w, status, name, f)
}

// signIn lets anyone in who knows how to type.
func (p *provider) signIn(w http.ResponseWriter, r *http.Request) {
	a, ok := p.posted(w, r)
	if !ok {
		return
	}
	username := strings.TrimSpace(r.PostFormValue("username"))
	if mistake := nameMistake(username); mistake != "" {
		p.showForm(w, r, "signin", form{Username: username, Mistake: mistake})
		return
	}
	if r.PostFormValue("password") == "" {
		p.showForm(w, r, "signin", form{Username: username, Mistake: "Type a password. Any will do."})
		return
	}
	p.enter(w, r, a, p.ledger.meet(username))
}

func (p *provider) register(w http.ResponseWriter, r *http.Request) {
	a, ok := p.posted(w, r)
	if !ok {
		return
	}
	f := form{
		Username: strings.TrimSpace(r.PostFormValue("username")),
		Name:     strings.TrimSpace(r.PostFormValue("name")),
		Email:    strings.TrimSpace(r.PostFormValue("email")),
	}
	switch f.Mistake = nameMistake(f.Username); {
	case f.Mistake != "":
	case !printable(f.Name, 64):
		f.Mistake = "A name has at most 64 characters."
	case f.Email != "" && (!strings.Contains(f.Email, "@") || !printable(f.Email, 128)):
		f.Mistake = "That is no e-mail address."
	case r.PostFormValue("password") == "":
		f.Mistake = "Type a password. Any will do; it is not kept."
	}
	if f.Mistake != "" {
		p.showForm(w, r, "register", f)
		return
	}
	who := newPerson(f.Username, f.Name, f.Email)
	if err := p.ledger.enrol(who); err != nil {
		p.sorry(w, http.StatusInternalServerError, "The registration could not be kept.")
		return
	}
	p.note("registered", "")
	p.enter(w, r, a, who)
}

// goOn uses the sign-in that the browser has already.
func (p *provider) goOn(w http.ResponseWriter, r *http.Request) {
	a, ok := p.posted(w, r)
	if !ok {
		return
	}
	now, signedIn := p.who(r)
	if !signedIn {
		p.showForm(w, r, "signin", form{Mistake: "You are signed out by now."})
		return
	}
	p.requests.take(r.PostFormValue("request"))
	p.grant(w, r, a, now)
}

// posted returns the request that a form is about.
func (p *provider) posted(w http.ResponseWriter, r *http.Request) (authRequest, bool) {
	name := r.PostFormValue("request")
	if !p.formIsOurs(r, name) {
		p.sorry(w, http.StatusForbidden, "This form was not shown by this page in this browser. Cookies must be allowed.")
		return authRequest{}, false
	}
	a, ok := p.requests.get(name)
	if !ok {
		p.sorry(w, http.StatusBadRequest, "This sign-in took too long, or was finished before. Start again where you came from.")
	}
	return a, ok
}

// enter signs a person in at the provider and answers the request.
func (p *provider) enter(w http.ResponseWriter, r *http.Request, a authRequest, who person) {
	p.requests.take(r.PostFormValue("request"))
	if c, err := r.Cookie(signInCookie); err == nil {
		p.signIns.take(c.Value)
	}
	now := signIn{person: who, sid: rand.Text(), at: time.Now()}
	setCookie(w, signInCookie, p.signIns.put(now), http.SameSiteLaxMode)
	p.grant(w, r, a, now)
}

// grant answers with a code.
func (p *provider) grant(w http.ResponseWriter, r *http.Request, a authRequest, now signIn) {
	p.answer(w, r, a, url.Values{"code": {p.codes.put(authCode{request: a, signIn: now})}})
}

// answer sends the browser back to the client (RFC 6749 §4.1.2, RFC 9207, OAuth 2.0 Form Post Response Mode).
func (p *provider) answer(w http.ResponseWriter, r *http.Request, a authRequest, q url.Values) {
	q.Set("iss", p.issuer)
	if a.state != "" {
		q.Set("state", a.state)
	}
	for name := range q {
		if q.Get(name) == "" {
			q.Del(name)
		}
	}
	if a.formPost {
		p.page(w, http.StatusOK, "send", map[string]any{"To": p.client.redirect, "Fields": q})
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	// 303: a browser must not post the password on (RFC 9700 §4.12).
	http.Redirect(w, r, p.client.redirect+"?"+q.Encode(), http.StatusSeeOther)
}

// signOut ends the sign-in at the provider (OpenID Connect RP-Initiated Logout §2). Without a hint that names the person who
// is signed in, the person is asked.
func (p *provider) signOut(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.sorry(w, http.StatusBadRequest, "The request to sign out could not be read.")
		return
	}
	back, ok := p.wayBack(r.Form)
	if !ok {
		p.sorry(w, http.StatusBadRequest, "The request wants to go on to an address that is not registered.")
		return
	}
	now, signedIn := p.who(r)
	hinted := false
	if hint := r.Form.Get("id_token_hint"); hint != "" {
		claims, err := p.readIDToken(hint)
		if err != nil {
			p.sorry(w, http.StatusBadRequest, "The request to sign out carries a token that is not from here.")
			return
		}
		hinted = claims.SID == now.sid
	}
	const about = "signout"
	if signedIn && !hinted && !(r.Method == http.MethodPost && r.PostForm.Has("token") && p.formIsOurs(r, about)) {
		p.page(w, http.StatusOK, "signout", map[string]any{
			"Token": p.formToken(w, r, about), "Name": now.person.Name,
			"Back": r.Form.Get("post_logout_redirect_uri"), "State": r.Form.Get("state"), "Client": p.client.id,
		})
		return
	}
	if signedIn {
		p.signIns.drop(func(s signIn) bool { return s.sid == now.sid })
		if err := p.ledger.end(func(_ string, f *family) bool { return f.SID == now.sid }); err != nil {
			p.sorry(w, http.StatusInternalServerError, "The sign-out could not be kept.")
			return
		}
		p.note("signed out", "")
	}
	setCookie(w, signInCookie, "", http.SameSiteLaxMode)
	if back == "" {
		p.page(w, http.StatusOK, "gone", map[string]any{"Back": originOf(p.client.redirect)})
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, back, http.StatusSeeOther)
}

// wayBack returns where a sign-out goes on to, "" for nowhere.
func (p *provider) wayBack(q url.Values) (string, bool) {
	to := q.Get("post_logout_redirect_uri")
	if to == "" {
		return "", true
	}
	if !slices.Contains(p.client.signedOut, to) || len(q.Get("state")) > 2048 {
		return "", false
	}
	if q.Has("client_id") && q.Get("client_id") != p.client.id {
		return "", false
	}
	if state := q.Get("state"); state != "" {
		to += "?" + url.Values{"state": {state}}.Encode()
	}
	return to, true
}

func nameMistake(username string) string {
	if username == "" {
		return "Type a username. Any will do."
	}
	if !printable(username, 64) || strings.HasPrefix(username, "@") {
		return "A username has at most 64 letters, digits and signs."
	}
	return ""
}

func printable(s string, most int) bool {
	return len(s) <= most && strings.IndexFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) < 0
}

func clip(s string, most int) string {
	if !printable(s, most) {
		return ""
	}
	return s
}
