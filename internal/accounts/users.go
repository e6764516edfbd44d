package accounts

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// Users is a user table of somebody else's, whose people sign in on our pages and get our tokens. Both methods may be called at any time
// and at once; ctx ends after some seconds.
type Users interface {
	// SignIn returns who an identifier and a password belong to, both as they were typed. nil: to nobody who may sign in; take the
	// same time whether or not there is somebody of that name. An error: it cannot be said now. Guessing is slowed down before it comes here.
	SignIn(ctx context.Context, identifier, password string) (*User, error)

	// Find returns somebody as they are now. nil: they are gone, or may not go on. It is called whenever a token is renewed: their
	// sessions then end.
	Find(ctx context.Context, subject string) (*User, error)
}

// User is somebody in Users.
type User struct {
	Subject       string `json:"sub"` // who it is, for good: up to 128 printable characters of ASCII, without spaces
	Email         string `json:"email,omitempty"`
	EmailVerified bool   `json:"email_verified,omitempty"`
	Username      string `json:"username,omitempty"`
	Name          string `json:"name,omitempty"`

	// Claims are what else is known, for GET session, identity headers and tokens: up to 4 KiB of JSON.
	Claims map[string]any `json:"claims,omitempty"`

	// Version is that of the credentials: whatever somebody signed in to under another ends at its next renewal. "" never changes. When
	// the password was changed last is a good one; when they signed in last is not.
	Version string `json:"version,omitempty"`
}

// Limits of a question to Users.
const (
	mostTyped = 320 // bytes of an identifier
	askBudget = 30 * time.Second
)

// Foreign reports whether the people are in a user table of somebody else's: then nobody registers or changes anything here.
func (a *Accounts) Foreign() bool { return a.o.Users != nil }

// signInForeign is SignIn for people of Users.
func (a *Accounts) signInForeign(ctx context.Context, identifier, password, address string) (*Account, error) {
	const op = "sign in"
	identifier = strings.TrimSpace(identifier)
	if identifier == "" || len(identifier) > mostTyped || len(password) > mostPassword {
		return nil, session.Fail(session.WrongCredentials, op, "longer than anybody's, or nothing")
	}
	attempt, pause, err := a.throttle.Attempt(spelling(identifier), address)
	if err != nil {
		return nil, err
	}
	account, err := a.ask(ctx, op, func(ctx context.Context) (*User, error) {
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
		return a.o.Users.SignIn(ctx, identifier, password)
	})
	switch {
	case err != nil:
		attempt.TakeBack()
		return nil, err
	case account == nil:
		return nil, session.Fail(session.WrongCredentials, op, "nobody whom the user table knows")
	}
	attempt.Right()
	return account, nil
}

// spelling is how tries for an identifier of Users count. Databases take many spellings for the same: of upper case, with accents or without,
// of full width, with characters that nobody sees. Here two people may count as one, and none has several names to guess by.
func spelling(identifier string) string {
	return strings.Map(func(c rune) rune {
		if unicode.In(c, unicode.M, unicode.Z, unicode.C) {
			return -1
		}
		return c
	}, cases.Fold().String(norm.NFKD.String(identifier)))
}

// find returns somebody by their subject; nil: there is none.
func (a *Accounts) find(ctx context.Context, id string) (*Account, error) {
	if !a.Foreign() {
		return a.db.byID(ctx, id)
	}
	account, err := a.ask(ctx, "find user", func(ctx context.Context) (*User, error) { return a.o.Users.Find(ctx, id) })
	if err == nil && account != nil && account.ID != id {
		return nil, session.Fail(session.ProviderLied, "find user", "the user table answered with another person than it was asked for")
	}
	return account, err
}

// ask puts a question to Users, and believes no more of the answer than fits.
func (a *Accounts) ask(ctx context.Context, op string, question func(context.Context) (*User, error)) (*Account, error) {
	ctx, cancel := context.WithTimeout(ctx, askBudget)
	defer cancel()
	u, err := question(ctx)
	var verdict *session.Error
	if err != nil && !errors.As(err, &verdict) {
		err = &session.Error{Code: session.ProviderDown, Op: op, Err: err, Hint: "the user table cannot be asked; people who are signed in go on until their token ends"}
	}
	if err != nil {
		return nil, err
	}
	if u == nil {
		return nil, nil
	}
	if !goodSubject(u.Subject) || len(u.Email) > mostTyped || len(u.Username) > mostTyped || !goodName(u.Email) || !goodName(u.Username) || !goodName(u.Name) {
		return nil, &session.Error{
			Code: session.ProviderLied, Op: op, Err: errUser,
			Hint: "sub is 1 to 128 printable characters of ASCII that never change; email, username and name are printable, of at most 200 bytes",
		}
	}
	account := &Account{ID: u.Subject, Email: u.Email, Username: u.Username, Name: u.Name, version: foreignVersion(u.Version)}
	if u.EmailVerified {
		account.EmailVerified = time.Now()
	}
	text, err := json.Marshal(u.Claims)
	if err == nil && len(text) > mostClaims {
		err = errUser
	}
	if err == nil {
		err = json.Unmarshal(text, &account.Claims) // as they will read in a session
	}
	if err != nil {
		return nil, &session.Error{Code: session.ProviderLied, Op: op, Err: err, Hint: "claims are at most 4096 bytes of JSON"}
	}
	return account, nil
}

var errUser = session.Fail(session.ProviderLied, "read user", "the user table answered with what is no person")

// foreignVersion says no more of a version than whether it is another: some are made of a password's hash.
func foreignVersion(version string) string {
	sum := seal.Hash("version of a user", []byte(version))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

func goodSubject(text string) bool {
	return text != "" && len(text) <= mostSubject && !strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' })
}
