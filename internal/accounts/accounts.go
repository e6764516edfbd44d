// Package accounts has people of our own: who they are, their passwords, how often one may guess, and the issuer that signs their
// tokens. To the rest of the house it is one more session.Provider: a login goes to a page of ours, which hands a code to the callback.
//
// It knows no HTTP: the endpoints are in internal/gateway, the pages in internal/ui.
package accounts

import (
	"context"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/internal/mail"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// Accounts is all of them, and the issuer of their tokens. It is safe for concurrent use.
type Accounts struct {
	o        Options
	base     *url.URL // of the endpoints
	db       *database
	hasher   *hasher
	throttle *throttle
	log      *slog.Logger

	codes   *seal.Box     // from our page to our callback
	steps   *seal.Box     // from the first step to the second
	offers  *seal.Box     // authenticators that are not set up yet
	secrets *seal.Lasting // those that are

	ceremonies *seal.Box // of passkeys, under way
	origin     string    // of the pages

	keys      *keys
	published *issuer.Keys // the same keys, as others see them
	audiences []string     // that routes name: a token may be for one of them alone
	opaques   *seal.Box    // what opaque tokens say
	stamps    *seal.Lasting
	apis      apiSecrets // of those who may ask about tokens

	ending sync.Mutex
	ended  map[string]int64 // since when somebody was named in account_ending whose sessions this process has ended

	mail    *mail.Office // nil: there is no way to send letters
	posting sync.WaitGroup
}

// Place is where the accounts are at home.
type Place struct {
	Origin string // the gateway's own: scheme, host and port
	Prefix string // of its endpoints: "/auth/"
	Ring   *seal.Keyring
	Log    *slog.Logger

	Audiences []string // that routes name, for tokens of their own
}

// New opens the accounts in o.Database, brings their tables up to date, and makes the first signing key where there is none.
func New(ctx context.Context, o Options, at Place) (*Accounts, error) {
	base, err := url.Parse(at.Origin + at.Prefix)
	if err != nil {
		return nil, err
	}
	o = o.withDefaults()
	if o.Tokens.Issuer == "" {
		o.Tokens.Issuer = strings.TrimSuffix(base.String(), "/")
	}
	if len(o.Tokens.Audience) == 0 {
		o.Tokens.Audience = []string{at.Origin}
	}
	if err := o.check(base); err != nil {
		return nil, err
	}
	db, err := openDatabase(ctx, o.Database)
	if err != nil {
		return nil, err
	}
	a := &Accounts{
		o: o, base: base, db: db, hasher: newHasher(o.Hash), throttle: newThrottle(), log: at.Log,
		codes: at.Ring.Box("account code"), steps: at.Ring.Box("account step"), offers: at.Ring.Box("account offer"),
		secrets: at.Ring.Lasting("account secret"), ceremonies: at.Ring.Box("account ceremony"), origin: at.Origin,
		audiences: at.Audiences, ended: map[string]int64{},
		opaques: at.Ring.Box("opaque access token"), stamps: at.Ring.Lasting("account epoch"), apis: o.APIs.secrets(),
	}
	if o.Mail != nil {
		if a.mail, err = mail.New(*o.Mail, at.Log); err != nil {
			return nil, err
		}
	}
	if a.keys, err = openKeys(ctx, db, at.Ring, o.Tokens.Algorithm); err != nil {
		return nil, err
	}
	fetch := func(ctx context.Context) ([]jose.JSONWebKey, error) {
		err := a.keys.Reload(ctx)
		return a.keys.Public(), err
	}
	a.published = issuer.KeysFrom(fetch, time.Now, Algorithms)
	return a, nil
}

// Title is what people are told where they choose between accounts and providers.
func (a *Accounts) Title() string { return a.o.Title }

// Issuer is the iss of the tokens.
func (a *Accounts) Issuer() string { return a.o.Tokens.Issuer }

// Opaque reports whether access tokens are other than JWTs.
func (a *Accounts) Opaque() bool { return a.o.Tokens.Format == FormatOpaque }

// Algorithm is what tokens are signed with.
func (a *Accounts) Algorithm() string { return a.o.Tokens.Algorithm }

// JWKS are the public keys of the issuer (RFC 7517 §5). They may be kept for JWKSLife.
func (a *Accounts) JWKS() jose.JSONWebKeySet { return jose.JSONWebKeySet{Keys: a.keys.Public()} }

// Login is what people call themselves: LoginEmail or LoginUsername.
func (a *Accounts) Login() string { return a.o.Login }

// Registers reports whether people may register by themselves.
func (a *Accounts) Registers() bool { return !a.o.RegisterOff && !a.Foreign() }

// SignIn returns the account of an identifier, if the password is right and it may sign in. address is the client's. WrongCredentials
// is the one answer to an unknown identifier, a wrong password and a disabled account, and takes the same time for all of them.
// TooMany: too many were wrong; its wait says when to come again. ProviderDown: the database is away, or too many wait.
func (a *Accounts) SignIn(ctx context.Context, identifier, password, address string) (*Account, error) {
	if a.Foreign() {
		return a.signInForeign(ctx, identifier, password, address)
	}
	key, err := keyOf(a.o.Login, strings.TrimSpace(identifier))
	if err != nil {
		key = "" // nobody can be called so: it is an unknown identifier like others
	}
	attempt, pause, err := a.throttle.Attempt(key, address)
	if err != nil {
		return nil, err
	}
	find := func() (*Account, error) { return a.db.byKey(ctx, a.o.Login, key) }
	account, err := a.verify(ctx, find, password, pause)
	if err != nil {
		if session.CodeOf(err) != session.WrongCredentials {
			attempt.TakeBack()
		}
		return account, err
	}
	attempt.Right()
	a.grow(ctx, account, password)
	return account, nil
}

// verify finds an account and looks at its password, whether or not there is such an account. With WrongCredentials comes the one that
// somebody tried to enter, if there is one.
func (a *Accounts) verify(ctx context.Context, find func() (*Account, error), password string, pause time.Duration) (*Account, error) {
	if err := sleep(ctx, pause); err != nil {
		return nil, err
	}
	account, err := find()
	if err != nil {
		return nil, err
	}
	wrong := func(why string) (*Account, error) {
		return account, session.Fail(session.WrongCredentials, "sign in", "%s", why)
	}
	if len(password) > mostPassword {
		return wrong("a longer password than any") // whoever is meant
	}
	stored := ""
	if account != nil {
		stored = account.password
	}
	same, err := a.hasher.Verify(ctx, stored, password)
	switch {
	case err != nil:
		return nil, err
	case account == nil:
		return wrong("there is no such account")
	case !same:
		return wrong("the password is another")
	case !account.Disabled.IsZero():
		return wrong("the account is disabled")
	}
	return account, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return &session.Error{Code: session.ProviderDown, Op: "sign in", Err: ctx.Err()}
	}
}

// grow hashes a password again that is known for a moment, where hashes cost more now than when it was chosen. If that fails it stays
// as it is: the person is signed in all the same.
func (a *Accounts) grow(ctx context.Context, account *Account, password string) {
	if !a.hasher.Outgrown(account.password) {
		return
	}
	if hash, err := a.hasher.Hash(ctx, password); err == nil {
		_ = a.db.rehash(ctx, account, hash)
	}
}

// Registration is what a new account is made of.
type Registration struct {
	Identifier string
	Password   string
	Name       string // how the person wants to be called; may be ""
	Hash       string // instead of Password: one that another system made, in a form of checkHash. For Add alone
}

// mostDisplayName bounds the name of a person, in bytes.
const mostDisplayName = 200

// Register makes an account. address is the client's. BadIdentifier, PasswordShort, PasswordLong, PasswordCommon: it cannot be;
// IdentifierTaken: there is one; TooMany: too many were tried from this address.
func (a *Accounts) Register(ctx context.Context, r Registration, address string) (*Account, error) {
	const op = "register"
	if a.o.RegisterOff {
		return nil, session.Fail(session.NotFound, op, "registering is off")
	}
	r.Hash = ""
	// Every try counts, also a good one: it tells whether there is such an account.
	if err := a.throttle.Register(address); err != nil {
		return nil, err
	}
	return a.add(ctx, r, nil)
}

// Add is Register by an operator: nothing limits it.
func (a *Accounts) Add(ctx context.Context, r Registration) (*Account, error) {
	return a.add(ctx, r, byOperator)
}

func (a *Accounts) add(ctx context.Context, r Registration, source []byte) (*Account, error) {
	key, hash, err := a.prepare(ctx, &r)
	if err != nil {
		return nil, err
	}
	account := newAccount(a.o.Login, r.Identifier, r.Name, hash)
	account.source = source
	return a.db.add(ctx, account, a.o.Login, key)
}

// prepare looks at what an account is to be made of, and hashes its password: that takes the same time whether there is such an account.
func (a *Accounts) prepare(ctx context.Context, r *Registration) (key, hash string, err error) {
	if key, err = a.nameOf(r); err != nil {
		return "", "", err
	}
	if r.Hash != "" {
		if err := checkHash(r.Hash); err != nil {
			return "", "", &session.Error{Code: session.BadRequest, Op: "read password hash", Err: err}
		}
		return key, r.Hash, nil
	}
	if err := fit(r.Password, key); err != nil {
		return "", "", err
	}
	hash, err = a.hasher.Hash(ctx, r.Password)
	return key, hash, err
}

// nameOf looks at what somebody wants to be called.
func (a *Accounts) nameOf(r *Registration) (key string, err error) {
	r.Identifier, r.Name = strings.TrimSpace(r.Identifier), strings.TrimSpace(r.Name)
	if key, err = keyOf(a.o.Login, r.Identifier); err != nil {
		return "", err
	}
	if !goodName(r.Name) {
		return "", session.Fail(session.BadRequest, "register", "a name of more than %d bytes, or not printable", mostDisplayName)
	}
	return key, nil
}

// CheckPassword says whether an account may have a password. PasswordShort, PasswordLong, PasswordCommon: no.
func (a *Accounts) CheckPassword(account *Account, next string) error {
	key, err := keyOf(a.o.Login, account.Identifier(a.o.Login))
	if err != nil {
		key = "" // the configuration has another kind of identifier now
	}
	return fit(next, key)
}

// SetPassword gives an account a password, which may be its first, and begins a new epoch. Confirm or ConfirmByPasskey comes first. Conflict:
// the account was changed at the same time.
func (a *Accounts) SetPassword(ctx context.Context, account *Account, next string) error {
	if err := a.CheckPassword(account, next); err != nil {
		return err
	}
	hash, err := a.hasher.Hash(ctx, next)
	if err != nil {
		return err
	}
	return a.db.setPassword(ctx, account, hash)
}
