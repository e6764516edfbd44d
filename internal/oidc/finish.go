package oidc

import (
	"context"
	"crypto/subtle"
	"net/url"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/session"
)

// codeLimit is the longest code we take, in bytes.
const codeLimit = 8 << 10

// Finish ends a login. The order is the security: a code is worth something, so nothing redeems it before everything that
// could be wrong with the answer has been looked at (RFC 9700 §4.4, RFC 9207), and nothing uses the tokens before the ID
// token has proved who they are for.
func (p *Provider) Finish(ctx context.Context, pending session.Pending, answer url.Values) (session.Grant, error) {
	m, err := p.checkAnswer(ctx, pending, answer)
	if err != nil {
		return session.Grant{}, err
	}
	form := url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {answer.Get("code")},
		"redirect_uri":  {p.redirect.String()},
		"code_verifier": {pending.Verifier()},
	}
	if len(p.o.Resource) > 0 { // the access token is made now, so it is now that it must be for the API (RFC 8707 §2.2)
		form["resource"] = p.o.Resource
	}
	tokens, err := p.redeem(ctx, "redeem code", m, form)
	if err != nil {
		return session.Grant{}, err
	}
	who, err := p.verify(ctx, tokens.ID)
	if err != nil {
		return session.Grant{}, err
	}
	if err := p.checkLogin(who, pending, tokens.ID, tokens.Access); err != nil {
		return session.Grant{}, session.Fail(session.ProviderLied, "verify ID token", "%w", err)
	}
	if err := p.checkStrength(who); err != nil {
		return session.Grant{}, err
	}
	sub := who["sub"].(string) // verify saw it
	var more issuer.Claims
	if m.Userinfo != "" && !p.o.UserinfoOff {
		if more, err = p.userinfo(ctx, m, tokens.Access, sub); err != nil {
			return session.Grant{}, err
		}
	}
	if tokens.Scope == "" { // then it is as asked (RFC 6749 §5.1)
		tokens.Scope = strings.Join(p.o.Scopes, " ")
	}
	sid, _ := who["sid"].(string)
	all := merge(issuer.Unverified(tokens.Access), who, more)
	all["iss"] = p.o.Issuer // with sub, the only key of a person: allow and identity need it where there are several providers
	return session.Grant{Provider: p.name, Issuer: p.o.Issuer, Subject: sub, SID: sid, Claims: all, Tokens: tokens}, nil
}

// checkAnswer looks at the authorization response alone, and returns the metadata of the issuer that the login went to.
func (p *Provider) checkAnswer(ctx context.Context, pending session.Pending, answer url.Values) (*metadata, error) {
	const op = "read authorization response"
	// The login was begun here. A provider that was reconfigured meanwhile is another one.
	if pending.Provider != p.name || pending.Issuer != p.o.Issuer {
		return nil, session.Fail(session.LoginLost, op, "the login was begun at another provider")
	}
	if subtle.ConstantTimeCompare([]byte(answer.Get("state")), []byte(pending.State())) != 1 {
		return nil, session.Fail(session.LoginLost, op, "state is missing or of another login")
	}
	for name, values := range answer {
		if len(values) > 1 {
			return nil, session.Fail(session.BadRequest, op, "%q is there %d times", issuer.Printable(name, 40), len(values))
		}
	}
	// The issuer comes before the error: an error of someone else's is not an answer either (RFC 9207 §2.4).
	if answer.Has("iss") && answer.Get("iss") != pending.Issuer {
		return nil, session.Fail(session.ProviderLied, op, "iss is %q: another provider answered", issuer.Printable(answer.Get("iss"), 200))
	}
	m, err := p.ready(ctx)
	if err != nil {
		return nil, err
	}
	if m.SendsIssuer && !answer.Has("iss") {
		return nil, session.Fail(session.ProviderLied, op, "iss is missing, although the provider says that it sends it")
	}
	if answer.Has("error") {
		refusal := issuer.NewRefusal(answer.Get("error"), answer.Get("error_description"))
		code := session.LoginDenied
		if refusal.Code == "unmet_authentication_requirements" {
			code = session.LoginWeak
		}
		return nil, &session.Error{Code: code, Op: op, Err: refusal, Hint: refusal.Hint()}
	}
	if code := answer.Get("code"); code == "" || len(code) > codeLimit {
		return nil, session.Fail(session.ProviderLied, op, "code is missing or longer than %d bytes", codeLimit)
	}
	return m, nil
}
