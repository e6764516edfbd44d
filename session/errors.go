package session

import (
	"errors"
	"fmt"
	"time"
)

// Code says how to react to an error. It decides the HTTP status, the sentence a person reads, the metric's label and
// what the client does. The list is closed: internal/answer has one row for each, and a test keeps it so.
type Code string

// The codes, from the request's own faults to ours.
const (
	None        Code = "none"         // there is no session: nobody signed in, or a cookie that cannot be opened
	Expired     Code = "expired"      // there was a session; its time is over
	Ended       Code = "ended"        // there was a session; it was ended while the request was under way
	Stolen      Code = "stolen"       // a superseded ticket came back after its grace: two holders
	BadRequest  Code = "bad_request"  // malformed beyond doubt
	NotFound    Code = "not_found"    // no such route or endpoint, or no such session of this person
	Unlisted    Code = "unlisted"     // the storage that was chosen does not know which sessions there are
	WrongHost   Code = "wrong_host"   // the request is for a host that is none of ours
	BadMethod   Code = "bad_method"   // the route exists, but not for this method
	CrossSite   Code = "cross_site"   // the guard refused where the request came from
	NotAllowed  Code = "not_allowed"  // signed in, but not among those who may enter
	TooLarge    Code = "too_large"    // a header, body or token over its limit
	TooMany     Code = "too_many"     // more attempts than there may be in a minute, or more streams at a time
	LoginLost   Code = "login_lost"   // an answer that matches no login in flight in this browser
	LoginSpent  Code = "login_spent"  // an answer to a login that was answered before
	LoginLoop   Code = "login_loop"   // signing in starts over again and again: mostly a browser that refuses cookies
	LoginDenied Code = "login_denied" // the provider answered with an error parameter
	LoginWeak   Code = "login_weak"   // the person did not sign in as strongly as the configuration asks (acr)

	WrongCredentials Code = "wrong_credentials" // no account of ours has this identifier and this password, or it may not sign in
	WrongPassword    Code = "wrong_password"    // the current password, asked for before a change, is not right
	CodeRequired     Code = "code_required"     // the password is right, and the account has a second factor
	WrongCode        Code = "wrong_code"        // a code of the second factor is not good, or was used before
	WrongMailCode    Code = "wrong_mail_code"   // a mailed code is not the one of the newest mail
	WrongPasskey     Code = "wrong_passkey"     // a passkey is unknown, not good, or answers another question
	PasswordShort    Code = "password_short"    // a new password has too few characters
	PasswordLong     Code = "password_long"     // a new password has more bytes than are taken
	PasswordCommon   Code = "password_common"   // a new password is one of those that are tried first
	BadIdentifier    Code = "bad_identifier"    // a new account cannot be called so
	IdentifierTaken  Code = "identifier_taken"  // there is an account of that name
	LastWay          Code = "last_way"          // it is the last thing that the person can sign in with, and stays
	LinkOver         Code = "link_over"         // a mailed link that was used, is too old, or never was one
	MailDown         Code = "mail_down"         // the mail server does not answer, or refused us

	TokenInvalid  Code = "token_invalid"  // an access token that came without a session is not good for the route
	TokenRequired Code = "token_required" // there is a session, but the request did not bring its access token along

	ProviderDown    Code = "provider_down"     // not reachable, too slow, or a 5xx
	ProviderRefused Code = "provider_refused"  // it refused our request: client credentials, redirect_uri, the code
	ProviderLied    Code = "provider_lied"     // its answer breaks the standard: wrong issuer, signature, nonce, sub …
	SessionTooLarge Code = "session_too_large" // what the provider gave does not fit into the cookies that this configuration keeps it in
	SessionLimit    Code = "session_limit"     // the person has as many sessions as the configuration allows
	GrantOver       Code = "grant_over"        // invalid_grant: the refresh token is dead, and the session with it

	Conflict     Code = "conflict"      // another writer was first: read again
	Unavailable  Code = "unavailable"   // the store is away
	UpstreamDown Code = "upstream_down" // the API behind the gateway cannot be reached or answered garbage
	UpstreamSlow Code = "upstream_slow" // the API behind the gateway took longer than its route allows
	Internal     Code = "internal"      // a fault of ours
)

// Error is the one error type of Cloakroom. Code decides the reaction; Op, Err and Hint are for the log and never reach a
// response.
type Error struct {
	Code Code
	Op   string // what was being done: "load session", "redeem code"
	Err  error  // why it failed; may be nil
	Hint string // what an operator can do about it; may be empty

	Wait time.Duration // after which another try makes sense; zero: not known
}

func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Op + ": " + string(e.Code)
	case e.Op == "":
		return e.Err.Error()
	}
	return e.Op + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is(err, &Error{Code: c}) true for any error of code c.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && t.Op == "" && t.Err == nil
}

// Fail makes an Error. The format is fmt.Errorf's, %w included.
func Fail(code Code, op, format string, args ...any) *Error {
	return &Error{Code: code, Op: op, Err: fmt.Errorf(format, args...)}
}

// CodeOf returns the code of the outermost Error in err's chain: Internal for an error without one, "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}

// HintOf returns the first hint in err's chain, or "".
func HintOf(err error) string {
	var e *Error
	for errors.As(err, &e) {
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}

// WaitOf returns the first wait in err's chain, or zero.
func WaitOf(err error) time.Duration {
	var e *Error
	for errors.As(err, &e) {
		if e.Wait > 0 {
			return e.Wait
		}
		err = e.Err
	}
	return 0
}

// Over reports whether err says that a session ended because of this very request: its grant turned out to be dead, or its
// ticket stolen. Only then are its cookies cleared. A cookie that merely names nothing is left alone, since an answer about it
// may arrive after that of a new login.
func Over(err error) bool {
	code := CodeOf(err)
	return code == GrantOver || code == Stolen
}
