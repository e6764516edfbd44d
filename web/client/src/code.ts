// Made from session/errors.go by `go test ./web -update`.

/** Every word by which the gateway says why it refused or failed. */
export const codes = [
  "none", // there is no session: nobody signed in, or a cookie that cannot be opened
  "expired", // there was a session; its time is over
  "ended", // there was a session; it was ended while the request was under way
  "stolen", // a superseded ticket came back after its grace: two holders
  "bad_request", // malformed beyond doubt
  "not_found", // no such route or endpoint, or no such session of this person
  "unlisted", // the storage that was chosen does not know which sessions there are
  "wrong_host", // the request is for a host that is none of ours
  "bad_method", // the route exists, but not for this method
  "cross_site", // the guard refused where the request came from
  "not_allowed", // signed in, but not among those who may enter
  "too_large", // a header, body or token over its limit
  "too_many", // more attempts than there may be in a minute, or more streams at a time
  "login_lost", // an answer that matches no login in flight in this browser
  "login_spent", // an answer to a login that was answered before
  "login_loop", // signing in starts over again and again: mostly a browser that refuses cookies
  "login_denied", // the provider answered with an error parameter
  "login_weak", // the person did not sign in as strongly as the configuration asks (acr)
  "wrong_credentials", // no account of ours has this identifier and this password, or it may not sign in
  "wrong_password", // the current password, asked for before a change, is not right
  "code_required", // the password is right, and the account has a second factor
  "wrong_code", // a code of the second factor is not good, or was used before
  "wrong_mail_code", // a mailed code is not the one of the newest mail
  "wrong_passkey", // a passkey is unknown, not good, or answers another question
  "password_short", // a new password has too few characters
  "password_long", // a new password has more bytes than are taken
  "password_common", // a new password is one of those that are tried first
  "bad_identifier", // a new account cannot be called so
  "identifier_taken", // there is an account of that name
  "last_way", // it is the last thing that the person can sign in with, and stays
  "link_over", // a mailed link that was used, is too old, or never was one
  "mail_down", // the mail server does not answer, or refused us
  "token_invalid", // an access token that came without a session is not good for the route
  "token_required", // there is a session, but the request did not bring its access token along
  "provider_down", // not reachable, too slow, or a 5xx
  "provider_refused", // it refused our request: client credentials, redirect_uri, the code
  "provider_lied", // its answer breaks the standard: wrong issuer, signature, nonce, sub …
  "session_too_large", // what the provider gave does not fit into the cookies that this configuration keeps it in
  "session_limit", // the person has as many sessions as the configuration allows
  "grant_over", // invalid_grant: the refresh token is dead, and the session with it
  "conflict", // another writer was first: read again
  "unavailable", // the store is away
  "upstream_down", // the API behind the gateway cannot be reached or answered garbage
  "upstream_slow", // the API behind the gateway took longer than its route allows
  "internal", // a fault of ours
] as const;

/** Why the gateway refused or failed. The list is closed. */
export type Code = (typeof codes)[number];
