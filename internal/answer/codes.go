package answer

import (
	"errors"
	"net/http"

	"github.com/cloakroom-go/cloakroom/session"
)

// row is how one code is answered: its status, and what a person reads. The sentences name no parts of the machinery.
type row struct {
	status int
	title  string
	text   string
	login  bool // signing in helps: a navigation is sent there, everything else is told how
	retry  bool // the same login again may help
}

// rows has one row for each code of session. A test keeps it complete.
var rows = map[session.Code]row{
	session.None:        {http.StatusUnauthorized, "Please sign in", "You are not signed in.", true, false},
	session.Expired:     {http.StatusUnauthorized, "Please sign in again", "Your session is over because its time was up.", true, false},
	session.Ended:       {http.StatusUnauthorized, "Please sign in again", "Your session was ended.", true, false},
	session.Stolen:      {http.StatusUnauthorized, "Please sign in again", "Your session was ended because it was used from two places.", true, false},
	session.GrantOver:   {http.StatusUnauthorized, "Please sign in again", "Your sign-in is no longer valid.", true, false},
	session.BadRequest:  {http.StatusBadRequest, "That did not make sense", "Something in this request is not as it should be. Going back to the start of the application usually helps.", false, true},
	session.NotFound:    {http.StatusNotFound, "Nothing here", "There is no page at this address.", false, false},
	session.Unlisted:    {http.StatusNotFound, "Not available here", "This application does not keep a list of where you are signed in. You can sign out, here or everywhere.", false, false},
	session.WrongHost:   {http.StatusMisdirectedRequest, "Not under this name", "This application is not served under the name in the address bar.", false, false},
	session.BadMethod:   {http.StatusMethodNotAllowed, "Not this way", "This address does not take this kind of request.", false, false},
	session.CrossSite:   {http.StatusForbidden, "Refused", "Another site asked your browser to do this, so it was not done.", false, false},
	session.NotAllowed:  {http.StatusForbidden, "Not for this account", "You are signed in, but this account may not enter here.", false, false},
	session.TooLarge:    {http.StatusRequestEntityTooLarge, "Too large", "What was sent is larger than this place takes.", false, false},
	session.TooMany:     {http.StatusTooManyRequests, "One moment, please", "Too many attempts came from you or your network. Please wait a minute and try again.", false, true},
	session.LoginLost:   {http.StatusBadRequest, "This sign-in cannot be continued", "It was started in another browser, took too long, or was finished already. Starting again helps.", false, true},
	session.LoginSpent:  {http.StatusBadRequest, "This sign-in was used already", "Each sign-in works once. Starting again helps.", false, true},
	session.LoginLoop:   {http.StatusBadRequest, "Signing in does not stick", "Your browser seems to refuse this site's cookies, so it forgets that you signed in. Please allow cookies for this site, then try again.", false, true},
	session.LoginDenied: {http.StatusForbidden, "Signing in was not completed", "The sign-in service did not let you in, or you cancelled. You can try again.", false, true},
	session.LoginWeak:   {http.StatusForbidden, "A stronger sign-in is needed", "You signed in, but not in a way that is enough for this application: it asks for more, a second factor perhaps. Please try again and use it.", false, true},

	// 422, not 401: nothing that the client can do by itself helps, and a new login is what it is in the middle of.
	session.WrongCredentials: {http.StatusUnprocessableEntity, "That did not match", "There is no account here with this name and this password.", false, true},
	session.WrongPassword:    {http.StatusForbidden, "That is not your password", "The current password is not right, so nothing was changed.", false, true},
	session.CodeRequired:     {http.StatusUnprocessableEntity, "A code is needed, too", "This account has a second step: please enter the code that your authenticator app shows, or a recovery code.", false, true},
	session.WrongCode:        {http.StatusUnprocessableEntity, "That code did not match", "A code is good for a minute, and once. Please enter the one that your authenticator app shows now, or a recovery code that you have not used.", false, true},
	session.WrongMailCode:    {http.StatusUnprocessableEntity, "That code did not match", "This is another code. Please enter the six digits of the newest mail, or follow its link.", false, true},
	session.WrongPasskey:     {http.StatusUnprocessableEntity, "That passkey did not work", "The passkey may be of another account or removed here, or the page was open for too long. Please try again, or take another way.", false, true},
	session.PasswordShort:    {http.StatusUnprocessableEntity, "This password is too short", "Please take a password of at least 8 characters. Longer is better: a few words are fine.", false, true},
	session.PasswordLong:     {http.StatusUnprocessableEntity, "This password is too long", "Please take a password of at most 1024 bytes.", false, true},
	session.PasswordCommon:   {http.StatusUnprocessableEntity, "This password is easily guessed", "It is among those that are tried first. Please take another one: a few words that only you put together are fine.", false, true},
	session.BadIdentifier:    {http.StatusUnprocessableEntity, "This name cannot be used", "An e-mail address looks like name@example.com, with plain Latin letters before the @. A user name has 2 to 64 letters and digits of one alphabet, without spaces.", false, true},
	session.IdentifierTaken:  {http.StatusConflict, "There is such an account already", "If it is yours, sign in with it. If not, please take another name.", false, true},
	session.LastWay:          {http.StatusConflict, "Then you could not sign in any more", "It is the last thing that you can sign in with, so it stays. Set a password, or add a passkey, before you remove it.", false, false},
	session.LinkOver:         {http.StatusGone, "This link is over", "It was used already, or its 10 minutes are over. Please ask for another mail.", false, false},
	session.MailDown:         {http.StatusServiceUnavailable, "We cannot send mail right now", "No mail was sent, and nothing was changed. Please try again in a few minutes.", false, false},

	session.TokenInvalid:  {http.StatusUnauthorized, "This access token is no good here", "The access token that came with the request is not for this place, or its time is over.", false, false},
	session.TokenRequired: {http.StatusUnauthorized, "Not to be opened like this", "This address is for the application's own requests. Going back to the start of the application helps.", false, false},

	session.ProviderDown:    {http.StatusServiceUnavailable, "The sign-in service does not answer", "We cannot reach the service that signs you in. Please try again in a moment.", false, true},
	session.ProviderRefused: {http.StatusBadGateway, "The sign-in service refused us", "The service that signs you in did not accept this application's request. Trying again may help; if it does not, the people who run this application need to know.", false, true},
	session.ProviderLied:    {http.StatusBadGateway, "The sign-in service's answer is not right", "The service that signs you in gave an answer that cannot be trusted, so you were not signed in.", false, true},
	// 502: the provider's tokens, and how they are kept here, do not go together. The person can change neither.
	session.SessionTooLarge: {http.StatusBadGateway, "This sign-in does not fit", "What the service that signs you in says about your account is more than this application can keep in your browser, so you were not signed in. You did nothing wrong, and trying again will not help; the people who run this application need to know.", false, false},
	session.SessionLimit:    {http.StatusForbidden, "Signed in on too many devices", "You are signed in on as many devices as this application allows at a time. Sign out on one of them, then try again here. A device that is not used is signed out by itself after a while.", false, true},
	session.Conflict:        {http.StatusServiceUnavailable, "One moment, please", "Too much happened at once. Please try again.", false, true},
	session.Unavailable:     {http.StatusServiceUnavailable, "One moment, please", "We cannot look up your session right now. You are still signed in; please try again in a moment.", false, true},
	session.UpstreamDown:    {http.StatusBadGateway, "The application does not answer", "The part of the application behind this page is not reachable. Please try again in a moment.", false, false},
	session.UpstreamSlow:    {http.StatusGatewayTimeout, "The application takes too long", "The part of the application behind this page did not answer in time.", false, false},
	session.Internal:        {http.StatusInternalServerError, "Something went wrong", "This is our fault, and it has been noted.", false, true},
}

// challenges are what a refusal says of itself in the header Cloakroom, for the client to know what to do, and a 401 in
// WWW-Authenticate (RFC 6750 §3).
var challenges = map[session.Code]struct{ cloakroom, authenticate string }{
	session.TokenRequired: {TokenRequired, "Bearer"},
	session.TokenInvalid:  {"", `Bearer error="invalid_token"`},
	session.CrossSite:     {CrossSite, ""},
}

// steps names the step of a sign-in that failed, by the error's Op, in words that help a person to describe it. The list is
// closed: an Op that is not in it stays in the log.
var steps = map[string]string{
	"read metadata":               "asking the sign-in service how it works",
	"check metadata":              "asking the sign-in service how it works",
	"fetch keys":                  "fetching the sign-in service's keys",
	"push authorization request":  "announcing the sign-in to the service",
	"read authorization response": "reading the sign-in service's answer",
	"redeem code":                 "completing the sign-in with the service",
	"verify ID token":             "verifying who signed in",
	"verify signature":            "verifying who signed in",
	"userinfo":                    "reading your profile (userinfo)",
}

// stepOf is a sentence about where err happened, or "".
func stepOf(err error) string {
	var e *session.Error
	if !errors.As(err, &e) || steps[e.Op] == "" {
		return ""
	}
	return " It failed while " + steps[e.Op] + "."
}
