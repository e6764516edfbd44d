package accounts

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// Name is what the configuration, sessions and logs call the accounts among the providers.
const Name = "accounts"

// The pages that a login leads to, behind the endpoints' prefix.
const (
	SignInPath = "sign-in"
	SignUpPath = "sign-up"
)

// codeLifetime is how long a code may take from our page to our callback: a redirect.
const codeLifetime = time.Minute

var (
	_ session.Provider = (*Accounts)(nil)
	_ session.Prober   = (*Accounts)(nil)
	_ session.Revoker  = revoking{}

	_ session.SessionRevoker = revoking{}
	_ session.Addresser      = (*Accounts)(nil)
)

// Begin sends the browser to our own page. The login in its cookie says the rest.
func (a *Accounts) Begin(_ context.Context, in session.Intent) (*url.URL, session.Pending, error) {
	pending := session.NewPending(Name, a.o.Tokens.Issuer, in)
	query := url.Values{"state": {pending.State()}}
	if in.Prompt == "none" { // without a page nobody can sign in here (OpenID Connect Core §3.1.2.6)
		query.Set("error", "login_required")
		return a.at("callback/"+Name, query), pending, nil
	}
	if in.LoginHint != "" {
		query.Set("login_hint", in.LoginHint)
	}
	if in.Register && a.Registers() {
		return a.at(SignUpPath, query), pending, nil
	}
	return a.at(SignInPath, query), pending, nil
}

func (a *Accounts) at(path string, query url.Values) *url.URL {
	u := a.base.JoinPath(path)
	u.RawQuery = query.Encode()
	return u
}

// Callback is where codes go. It is an address of its own: none of a provider's answers is mistaken for one of ours.
func (a *Accounts) Callback() *url.URL { return a.base.JoinPath("callback", Name) }

// code is what a page of ours hands to the callback, sealed for one login.
type code struct {
	Account string   `json:"a"`
	Epoch   string   `json:"e"`
	At      int64    `json:"t"` // seconds
	Methods []string `json:"m"` // amr (RFC 8176)
}

// Answer is the authorization response for a login: account has just proved who it is, by these methods (RFC 8176). It is good for a
// minute, and in the browser that began the login.
func (a *Accounts) Answer(p session.Pending, account *Account, methods ...string) url.Values {
	sealed := sealJSON(a.codes, code{account.ID, account.Epoch(), time.Now().Unix(), methods}, p.Challenge())
	return url.Values{"state": {p.State()}, "code": {sealed}, "iss": {a.o.Tokens.Issuer}}
}

// Finish opens the code that Answer made for the same login, and looks at the account again. That a code is used once is the
// callback's care, which spends the login.
func (a *Accounts) Finish(ctx context.Context, p session.Pending, answer url.Values) (session.Grant, error) {
	const op = "redeem code"
	if answer.Get("state") != p.State() || p.Provider != Name {
		return session.Grant{}, session.Fail(session.LoginLost, op, "state is that of another login")
	}
	if p.Issuer != a.o.Tokens.Issuer || answer.Has("iss") && answer.Get("iss") != p.Issuer {
		return session.Grant{}, session.Fail(session.ProviderLied, op, "the answer is another issuer's")
	}
	if answer.Has("error") {
		return session.Grant{}, session.Fail(session.LoginDenied, op, "%s", issuer.NewRefusal(answer.Get("error"), ""))
	}
	c, err := a.open(answer.Get("code"), p.Challenge())
	if err != nil {
		return session.Grant{}, err
	}
	account, err := a.current(ctx, c.Account, c.Epoch)
	if err != nil {
		return session.Grant{}, err
	}
	if account == nil {
		return session.Grant{}, errMeanwhile
	}
	if err := a.enough(ctx, account, c.Methods); err != nil {
		return session.Grant{}, err
	}
	sid := seal.RandomText(nameSize) // it names the session to others, so it is none of the names by which we find it
	tokens, err := a.mint(account, issued{SignedIn: c.At, Session: sid})
	if err != nil {
		return session.Grant{}, err
	}
	claims := account.claims()
	claims["iss"], claims["auth_time"] = a.o.Tokens.Issuer, float64(c.At) // as a number reads that was stored
	if len(c.Methods) > 0 {
		methods := make([]any, len(c.Methods))
		for i, m := range c.Methods {
			methods[i] = m
		}
		claims["amr"] = methods
	}
	return session.Grant{Provider: Name, Issuer: a.o.Tokens.Issuer, Subject: account.ID, SID: sid, Claims: claims, Tokens: tokens}, nil
}

// errMeanwhile is what becomes of a login whose account is another by the time that it is finished.
var errMeanwhile = session.Fail(session.LoginDenied, "finish login", "the account was disabled, or its password changed, a moment ago")

// Stands looks at the account of a grant that Finish made once more. LoginDenied: as of Finish. Of people of somebody else's it is
// nothing: they are asked for at each renewal, and nobody ends their sessions.
func (a *Accounts) Stands(ctx context.Context, g session.Grant) error {
	if a.Foreign() {
		return nil
	}
	account, err := a.current(ctx, g.Subject, g.Tokens.Refresh)
	if err == nil && account == nil {
		err = errMeanwhile
	}
	return err
}

func (a *Accounts) open(text, challenge string) (c code, err error) {
	const op = "redeem code"
	if !openJSON(a.codes, text, &c, challenge) || c.Account == "" {
		return c, session.Fail(session.LoginLost, op, "no code of ours for this login")
	}
	if age := time.Since(time.Unix(c.At, 0)); age > codeLifetime || age < -codeLifetime {
		return c, session.Fail(session.LoginLost, op, "the code is %s old", age.Round(time.Second))
	}
	return c, nil
}

// current returns an account that may go on since an epoch of its credentials; nil: it may not.
func (a *Accounts) current(ctx context.Context, id, epoch string) (*Account, error) {
	account, err := a.find(ctx, id)
	if err != nil || account == nil || !account.Disabled.IsZero() || account.Epoch() != epoch {
		return nil, err
	}
	return account, nil
}

// Refresh mints a new access token. There is no refresh token beside the ticket, which rotates: what stands in its place is the epoch of
// the credentials. GrantOver: the account is gone or disabled, or its credentials changed.
func (a *Accounts) Refresh(ctx context.Context, g session.Grant, want session.Want) (session.Tokens, error) {
	const op = "mint token"
	if g.Provider != Name || g.Issuer != a.o.Tokens.Issuer {
		return session.Tokens{}, session.Fail(session.GrantOver, op, "the grant is of another issuer")
	}
	if want.Scope != "" {
		return session.Tokens{}, session.Fail(session.BadRequest, op, "tokens of accounts have no scope")
	}
	if want.Audience != "" && !a.makes(want.Audience) {
		return session.Tokens{}, session.Fail(session.BadRequest, op, "no token of accounts is for %q", want.Audience)
	}
	account, err := a.current(ctx, g.Subject, g.Tokens.Refresh)
	if err != nil {
		return session.Tokens{}, err
	}
	if account == nil {
		return session.Tokens{}, session.Fail(session.GrantOver, op, "the account is gone or disabled, or its password was changed")
	}
	signedIn, err := issuer.Claims(g.Claims).Time("auth_time")
	if err != nil {
		return session.Tokens{}, session.Fail(session.GrantOver, op, "%w", err)
	}
	return a.mint(account, issued{SignedIn: signedIn.Unix(), Session: g.SID, Audience: want.Audience})
}

// End has nothing to do: nobody is signed in here but in their session.
func (a *Accounts) End(context.Context, session.Grant, *url.URL, string) (*url.URL, error) {
	return nil, nil
}

// Probe says whether the accounts can be read now.
func (a *Accounts) Probe(ctx context.Context) error {
	_, err := a.db.byID(ctx, "")
	if prober, ok := a.o.Users.(session.Prober); ok && err == nil {
		return prober.Probe(ctx)
	}
	return err
}

// VerifyAccess returns whose an access token is, if it is one of ours for that audience, is valid now, and the account may still sign in.
// TokenInvalid: it is not.
func (a *Accounts) VerifyAccess(ctx context.Context, token, audience string) (session.Grant, error) {
	const op = "verify access token"
	if !a.Issued(token) {
		return a.verifyJWT(ctx, token, audience)
	}
	claims, err := a.active(ctx, token)
	if err != nil {
		return session.Grant{}, err
	}
	i, _ := a.openOpaque(token)
	if claims == nil || !slices.Contains(a.addressees(i), audience) {
		return session.Grant{}, session.Fail(session.TokenInvalid, op, "it is over, revoked, or for another audience")
	}
	return a.bearing(token, i.Account, claims, time.Unix(i.Expires, 0)), nil
}

func (a *Accounts) verifyJWT(ctx context.Context, token, audience string) (session.Grant, error) {
	const op = "verify access token"
	rules := issuer.Rules{Issuer: a.o.Tokens.Issuer, Audience: audience, Type: issuer.TypeAccess, ClientID: clientID}
	access, err := a.published.VerifyAccess(ctx, token, rules, time.Now())
	if err != nil {
		return session.Grant{}, err
	}
	account, err := a.find(ctx, access.Subject)
	if err != nil {
		return session.Grant{}, err
	}
	if account == nil || !account.Disabled.IsZero() {
		return session.Grant{}, session.Fail(session.TokenInvalid, op, "the account is gone or disabled")
	}
	jti := access.Claims.Text("jti")
	if !a.madeUnder(account, jti) {
		return session.Grant{}, session.Fail(session.TokenInvalid, op, "the credentials of the account were changed since")
	}
	gone, err := a.db.revoked(ctx, jti, access.Claims.Text("sid"))
	if err != nil {
		return session.Grant{}, err
	}
	if gone {
		return session.Grant{}, session.Fail(session.TokenInvalid, op, "it was revoked")
	}
	return a.bearing(token, access.Subject, access.Claims, access.Expires), nil
}

// bearing is the grant of somebody who came with a token alone.
func (a *Accounts) bearing(token, subject string, claims map[string]any, expires time.Time) session.Grant {
	return session.Grant{
		Provider: Name, Issuer: a.o.Tokens.Issuer, Subject: subject, Claims: claims,
		Tokens: session.Tokens{Access: token, Type: "Bearer", Expires: expires},
	}
}

// Epoch names the credentials that the account has now. What was signed in under others is over.
func (a *Account) Epoch() string {
	if a.version != "" {
		return a.version
	}
	return strconv.FormatInt(a.epoch, 10)
}

// claims is what is known of a person, by the names of OpenID Connect Core §5.1. Never a hash, never a secret.
func (a *Account) claims() map[string]any {
	claims := map[string]any{}
	for name, v := range a.Claims {
		if !FixedClaim(name) {
			claims[name] = v
		}
	}
	claims["sub"] = a.ID
	if a.Username != "" {
		claims["preferred_username"] = a.Username
	}
	if a.Email != "" {
		claims["email"], claims["email_verified"] = a.Email, !a.EmailVerified.IsZero()
	}
	if a.Name != "" {
		claims["name"] = a.Name
	}
	return claims
}
