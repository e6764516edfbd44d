package config

import (
	"net/url"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/hook"
	"github.com/cloakroom-go/cloakroom/internal/mail"
	browser "github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/passkeys"
)

// people reads the accounts of our own. They are there if any of their keys is.
func people(f *form, c *Config) {
	a := &cloakroom.Accounts{}
	register, keys := true, true
	f.database(&c.AccountsDSN, "accounts.database", "sqlite:accounts.db", "Where people of Cloakroom's own are: `sqlite:PATH`, or `postgres://USER:PASSWORD@HOST/DATABASE` with [parameters](accounts.md#postgresql). Naming anything under `accounts` switches them on; nothing else signs their tokens, so make backups.", accountsDSN)
	f.word(&a.Login, "accounts.login", accounts.LoginEmail, []string{accounts.LoginEmail, accounts.LoginUsername}, "What people call themselves.")
	f.flag(&register, "accounts.register", true, "Whether people can register by themselves.")
	f.text(&a.Title, "accounts.name", "Account of this site", "What the page calls them on which people choose where to sign in.", oneLine)
	f.flag(&keys, "accounts.passkeys", true, "Whether people can sign in with passkeys that they add to their account. They hold for the host of `url`, which cannot be an IP address.")
	f.count(&a.Hash.Memory, "accounts.hash.memory", 47104, 7168, "What guessing a password costs (argon2id): KiB of memory.")
	f.count(&a.Hash.Time, "accounts.hash.time", 1, 1, "… and passes over it. Passwords are hashed again at the next login when either grows.")
	f.count(&a.Hash.Threads, "accounts.hash.threads", 1, 1, "… in so many threads.")
	accessTokens(f, &a.Tokens)
	f.each("accounts.introspection", "CLIENT_ID", "APIs that may ask whether an access token is good (RFC 7662), and revoke one (RFC 7009), by their `client_id`.", func(f *form, name string) { api(f, name, a) })
	var h hook.Options
	f.text(&h.URL, "accounts.hook.url", "", "A program of yours that says who people are, in place of accounts here: its address, `https`, or `http` on this machine. [How](accounts.md#a-user-table-of-your-own).", wireURL)
	var s secret
	f.secret(&s, "accounts.hook.secret", "What questions to it are signed with: `whsec_` and base64 of 24 to 64 bytes, like those of `cloakroom keys new --hook`.", oneLine, hookSecret)
	h.Secret = string(s)
	f.duration(&h.Timeout, "accounts.hook.timeout", 5*time.Second, 100*time.Millisecond, 10*time.Second, "How long it may take to answer; at most 10s.")
	letters, verify := post(f), true
	f.flag(&verify, "accounts.verify_email", true, "With `accounts.mail`: an account is made only once a mailed link has shown that the address is the person's own. Registering then tells nobody who has an account.")
	a.VerifyEmailOff = !verify
	f.flag(&a.EmailLink, "accounts.email_link", false, "With `accounts.mail`: people may sign in by a mailed link or code, without their password.")
	f.text(&a.ResetPage, "accounts.reset_page", "", "With `accounts.mail`: a page of yours on which a new password is set, in place of Cloakroom's: a path like `/new-password`. The token is behind the `#`, as `token=…`, for `POST password/reset`.", path)
	f.text(&a.VerifyPage, "accounts.verify_page", "", "The same for the page on which an address is confirmed, for `POST email/confirm`.", path)
	a.RegisterOff = !register
	if keys {
		a.Passkeys = passkeys.New()
	}
	if f.docs != nil || !f.any("accounts.") {
		return
	}
	if err := a.Hash.Check(); err != nil {
		f.conflict("accounts.hash", "%s", err)
	}
	foreign(f, h, a)
	if a.EmailLink && !f.any("accounts.mail.") {
		f.conflict("accounts.email_link", "say in accounts.mail how the mail is sent")
	}
	for _, key := range []string{"accounts.reset_page", "accounts.verify_page"} {
		if f.has(key) && !f.any("accounts.mail.") {
			f.conflict(key, "say in accounts.mail how the mail is sent that leads there")
		}
	}
	if f.any("accounts.mail.") {
		a.Mail = letters
		if u, err := url.Parse(c.URL); err == nil && letters.Server == mail.ToLog && !browser.IsLocal(u.Hostname()) {
			f.conflict("accounts.mail.smtp", "the log is for development, at a url of this machine: whoever reads it could take over every account; write HOST:PORT of a mail server")
		}
		if a.Login != accounts.LoginEmail {
			f.conflict("accounts.login", "people who sign in with a user name have no address that accounts.mail could write to")
		}
	}
	c.Accounts = a
}

// accessTokens reads what their access tokens are like.
func accessTokens(f *form, t *cloakroom.AccountTokens) {
	f.word(&t.Format, "accounts.tokens.format", accounts.FormatJWT, []string{accounts.FormatJWT, accounts.FormatOpaque}, "What access tokens are: JWTs that anybody verifies by the published keys, or `opaque` ones, about which an API asks each time: they can be revoked at once.")
	f.text(&t.Issuer, "accounts.tokens.issuer", "", "The `iss` of the access tokens; without it `url` and `prefix`, without the last slash. Libraries look for the keys there.", wireURL)
	f.duration(&t.Lifetime, "accounts.tokens.lifetime", 10*time.Minute, 10*time.Second, 15*time.Minute, "How long an access token is good; 10s to 15m.")
	f.oneOrMore(&t.Audience, "accounts.tokens.audience", "The `aud` of the access tokens; without it `url`.", oneLine)
	f.word(&t.Algorithm, "accounts.tokens.alg", "ES256", accounts.Algorithms, "What access tokens are signed with. Another one takes over 10 minutes after the start.")
	f.words(&t.Claims, "accounts.tokens.claims", nil, "What an access token says of the person beside `sub`, like `email`.", claim, tokenClaim)
	f.flag(&t.Session, "accounts.tokens.session", false, "Whether an access token names the session it is of by the claim `sid`: the same through all its renewals, another one for each login. [What for](accounts.md#what-the-api-gets).")
}

// foreign puts a hook in the place of accounts here.
func foreign(f *form, h hook.Options, a *cloakroom.Accounts) {
	switch {
	case !f.any("accounts.hook."):
		return
	case !f.has("accounts.hook.url"):
		f.wrong(f.where("accounts.hook"), "accounts.hook.url is missing: write where your program answers")
	case !f.has("accounts.hook.secret"):
		f.wrong(f.where("accounts.hook"), "accounts.hook.secret is missing: make one with: cloakroom keys new --hook > hook.key; then write secret: {file: hook.key}")
	case h.URL != "" && h.Secret != "":
		users, err := hook.New(h)
		if err != nil {
			f.conflict("accounts.hook", "%s", err)
			return
		}
		a.Users, a.Passkeys = users, nil
	}
	for _, key := range []string{"accounts.register", "accounts.hash", "accounts.mail", "accounts.verify_email", "accounts.email_link", "accounts.reset_page", "accounts.verify_page", "accounts.passkeys"} {
		if f.has(key) || f.any(key+".") {
			f.conflict(key, "this is for accounts that are here; with accounts.hook they are where it answers")
		}
	}
}

// api reads the secret of an API that asks about tokens.
func api(f *form, name string, a *cloakroom.Accounts) {
	var s secret
	f.secret(&s, "secret", "What it proves itself with: at least 32 characters, like those of `cloakroom keys new`.", oneLine, apiSecret)
	f.need("secret", "make one with: cloakroom keys new > api.key; then write secret: {file: api.key}")
	if a.APIs == nil {
		a.APIs = accounts.APIs{}
	}
	a.APIs[name] = string(s)
}

// post reads how letters are sent.
func post(f *form) *cloakroom.MailOptions {
	m := &cloakroom.MailOptions{}
	f.text(&m.Server, "accounts.mail.smtp", "", "The mail server: `HOST:PORT`, 465 with TLS from the first byte, else with STARTTLS, which is required but on this machine. While you build, `log` writes letters into the log. Without `accounts.mail` no letters are sent.", mailServer)
	f.text(&m.From, "accounts.mail.from", "", "Whom letters are from: `Example <no-reply@example.com>`.", oneLine)
	f.text(&m.Username, "accounts.mail.username", "", "At the mail server.", oneLine)
	var s secret
	f.secret(&s, "accounts.mail.password", "At the mail server. It is sent over TLS only.", oneLine)
	m.Password = string(s)
	f.flag(&m.InsecurePlain, "accounts.mail.insecure_plain", false, "Send without TLS to a server on another host that has none. Everyone on the way can take accounts over by what they read.")
	if f.docs != nil || !f.any("accounts.mail.") {
		return m
	}
	f.need("accounts.mail.smtp", "write HOST:PORT of the mail server, or log while you build")
	f.need("accounts.mail.from", "write the address that letters are from, like Example <no-reply@example.com>")
	if m.Server != "" && m.From != "" {
		if err := m.Check(); err != nil {
			f.conflict("accounts.mail", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	return m
}
