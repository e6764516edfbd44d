package demo

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// accessClaims are the claims of an access token (RFC 9068 §2.2).
type accessClaims struct {
	jwt.Claims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
	Family   string `json:"family"`
	Role     string `json:"role"` // the same for everyone: nobody has another by right
	Name     string `json:"name,omitempty"`
	Email    string `json:"email,omitempty"`
}

// idClaims are the claims of an ID token (OIDC Core §2).
type idClaims struct {
	jwt.Claims
	AuthTime int64  `json:"auth_time"`
	Nonce    string `json:"nonce,omitempty"`
	SID      string `json:"sid"`
	AtHash   string `json:"at_hash"`
	profileClaims
}

// profileClaims are what the scopes profile and email give.
type profileClaims struct {
	Name     string `json:"name,omitempty"`
	Username string `json:"preferred_username,omitempty"`
	Email    string `json:"email,omitempty"`
	Verified bool   `json:"email_verified,omitempty"`
}

func profileOf(who person, scope string) profileClaims {
	var c profileClaims
	scopes := strings.Fields(scope)
	if slices.Contains(scopes, "profile") {
		c.Name, c.Username = who.Name, who.Username
	}
	if slices.Contains(scopes, "email") {
		c.Email, c.Verified = who.Email, true
	}
	return c
}

// token is the token endpoint (RFC 6749 §3.2).
func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if !p.authenticate(w, r) {
		return
	}
	var answer map[string]any
	var err error
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		answer, err = p.redeem(r.PostForm)
	case "refresh_token":
		answer, err = p.refresh(r.PostForm)
	default:
		err = &oauthError{"unsupported_grant_type", ""}
	}
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// authenticate checks the client: client_secret_basic or client_secret_post, one of them (RFC 6749 §2.3.1). It reads the
// form, and refuses one with a parameter twice.
func (p *provider) authenticate(w http.ResponseWriter, r *http.Request) bool {
	if err := r.ParseForm(); err != nil {
		fail(w, &oauthError{"invalid_request", "the form could not be read"})
		return false
	}
	for name, values := range r.PostForm {
		if len(values) > 1 && name != "resource" {
			fail(w, &oauthError{"invalid_request", "a parameter is given twice"})
			return false
		}
	}
	id, secret := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	if user, password, ok := r.BasicAuth(); ok {
		user, err1 := url.QueryUnescape(user)
		password, err2 := url.QueryUnescape(password)
		if r.PostForm.Has("client_secret") || (id != "" && id != user) || errors.Join(err1, err2) != nil {
			fail(w, &oauthError{"invalid_request", "the client authenticates in two ways, or badly"})
			return false
		}
		id, secret = user, password
	}
	known := subtle.ConstantTimeCompare([]byte(id), []byte(p.client.id)) & subtle.ConstantTimeCompare([]byte(secret), []byte(p.client.secret))
	if known == 0 {
		w.Header().Set("WWW-Authenticate", `Basic realm="demo provider"`)
		fail(w, &oauthError{"invalid_client", ""})
		return false
	}
	return true
}

// redeem takes a code. A code that comes twice ends what the first one started (RFC 6749 §4.1.2).
func (p *provider) redeem(q url.Values) (map[string]any, error) {
	code, ok := p.codes.take(q.Get("code"))
	switch {
	case !ok:
		return nil, &oauthError{"invalid_grant", "the code is unknown or took too long"}
	case code.spent != "":
		p.note("code used twice", "its tokens are revoked")
		err := p.ledger.end(func(id string, _ *family) bool { return id == code.spent })
		return nil, errors.Join(&oauthError{"invalid_grant", "the code was used before"}, err)
	case q.Get("redirect_uri") != p.client.redirect:
		return nil, &oauthError{"invalid_grant", "redirect_uri is another than before"}
	}
	sum := sha256.Sum256([]byte(q.Get("code_verifier")))
	challenge := base64.RawURLEncoding.EncodeToString(sum[:])
	if subtle.ConstantTimeCompare([]byte(challenge), []byte(code.request.challenge)) == 0 {
		return nil, &oauthError{"invalid_grant", "the code verifier does not fit"}
	}
	f := family{Person: code.signIn.person, SID: code.signIn.sid, Scope: code.request.scope, SignedIn: code.signIn.at}
	id, refresh, err := p.ledger.found(f)
	if err != nil {
		return nil, err
	}
	p.codes.keep(q.Get("code"), authCode{spent: id})
	p.note("code redeemed", "access, refresh and ID token issued")
	return p.issue(f, id, refresh, code.request.nonce)
}

// refresh takes a refresh token, once.
func (p *provider) refresh(q url.Values) (map[string]any, error) {
	f, next, err := p.ledger.rotate(q.Get("refresh_token"))
	if errors.Is(err, errGrantOver) {
		p.note("refresh refused", err.Error())
		return nil, &oauthError{"invalid_grant", errGrantOver.Error()}
	}
	if err != nil {
		return nil, err
	}
	p.note("tokens refreshed", "the refresh token was exchanged for a new one")
	id, _, _ := strings.Cut(next, ".")
	return p.issue(f, id, next, "")
}

// issue makes the token answer.
func (p *provider) issue(f family, id, refresh, nonce string) (map[string]any, error) {
	now := time.Now()
	// Rounded up to the second that a JWT can say: expires_in must not promise more than exp keeps.
	ends := now.Add(p.life + time.Second - 1)
	claims := jwt.Claims{
		Issuer: p.issuer, Subject: f.Person.Subject, Audience: jwt.Audience{audience}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(ends),
	}
	profile := profileOf(f.Person, f.Scope)
	access, err := p.mint("at+jwt", accessClaims{Claims: claims, ClientID: p.client.id, Scope: f.Scope, Family: id, Role: "customer", Name: profile.Name, Email: profile.Email})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(access))
	claims.Audience, claims.ID, claims.Expiry = jwt.Audience{p.client.id}, "", jwt.NewNumericDate(now.Add(5*time.Minute))
	idToken, err := p.mint("JWT", idClaims{
		Claims: claims, AuthTime: f.SignedIn.Unix(), Nonce: nonce, SID: f.SID,
		AtHash: base64.RawURLEncoding.EncodeToString(sum[:16]), profileClaims: profile,
	})
	if err != nil {
		return nil, err
	}
	p.remember(access, refresh, idToken)
	return map[string]any{
		"access_token": access, "token_type": "Bearer", "expires_in": int(p.life / time.Second),
		"refresh_token": refresh, "id_token": idToken, "scope": f.Scope,
	}, nil
}

// keptTokens is how many of the tokens that were issued are known by their text, for those who look for them where they should
// not be.
const keptTokens = 300

func (p *provider) remember(tokens ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recent = append(p.recent[max(0, len(p.recent)+len(tokens)-keptTokens):], tokens...)
}

// issued are the latest tokens.
func (p *provider) issued() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.recent)
}

func (p *provider) mint(typ string, claims any) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: p.ledger.page.SigningKey},
		(&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(claims).Serialize()
}

// readIDToken reads an ID token of ours. It may have expired: a sign-out comes late.
func (p *provider) readIDToken(raw string) (idClaims, error) {
	var claims idClaims
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return claims, err
	}
	if err := token.Claims(p.ledger.page.SigningKey.Public(), &claims); err != nil {
		return claims, err
	}
	if claims.Issuer != p.issuer || !claims.Audience.Contains(p.client.id) || claims.SID == "" {
		return claims, errors.New("not an ID token of this provider")
	}
	return claims, nil
}

// userinfo says who an access token is about (OIDC Core §5.3).
func (p *provider) userinfo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	own := verifier{issuer: p.issuer, keys: func(string) []jose.JSONWebKey { return []jose.JSONWebKey{p.ledger.page.SigningKey.Public()} }}
	token, err := bearer(r)
	var claims accessClaims
	if err == nil {
		claims, err = own.check(token)
	}
	if err != nil {
		unauthorized(w, err)
		return
	}
	f, ok := p.ledger.family(claims.Family)
	if !ok {
		unauthorized(w, errors.New("the sign-in it comes from is over"))
		return
	}
	writeJSON(w, http.StatusOK, struct {
		Subject string `json:"sub"`
		profileClaims
	}{claims.Subject, profileOf(f.Person, claims.Scope)})
}

// revoke ends a refresh token and all that descends from the same login (RFC 7009). An access token lives out its seconds;
// an unknown token is as good as revoked.
func (p *provider) revoke(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if !p.authenticate(w, r) {
		return
	}
	token := r.PostForm.Get("token")
	if token == "" {
		fail(w, &oauthError{"invalid_request", "token is missing"})
		return
	}
	revoked := false
	err := p.ledger.end(func(id string, f *family) bool {
		mine, secret, _ := strings.Cut(token, ".")
		sum := sha256.Sum256([]byte(secret))
		match := id == mine && subtle.ConstantTimeCompare(sum[:], f.Newest) == 1
		revoked = revoked || match
		return match
	})
	if err != nil {
		fail(w, err)
		return
	}
	if revoked {
		p.note("tokens revoked", "the gateway said they are no longer needed")
	}
	w.WriteHeader(http.StatusOK)
}

// fail answers the client with an error (RFC 6749 §5.2).
func fail(w http.ResponseWriter, err error) {
	var e *oauthError
	if !errors.As(err, &e) {
		writeJSON(w, http.StatusInternalServerError, &oauthError{Code: "server_error"})
		return
	}
	status := http.StatusBadRequest
	if e.Code == "invalid_client" {
		status = http.StatusUnauthorized
	}
	writeJSON(w, status, e)
}
