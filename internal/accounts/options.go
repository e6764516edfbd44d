package accounts

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/mail"
	"github.com/cloakroom-go/cloakroom/internal/origin"
)

// Options are what the accounts obey. Database is needed; the zero value of the rest is its default.
type Options struct {
	Database    *sql.DB // where the accounts are: of store/sqlite.OpenAccounts or store/postgres.OpenAccounts; the caller closes it
	Login       string  // what people call themselves: LoginEmail (default) or LoginUsername
	RegisterOff bool    // nobody can register by themselves
	Title       string  // what the page calls them on which people choose where to sign in; default "Account of this site"
	Hash        Hash
	Tokens      Tokens
	Users       Users         // a user table of somebody else's, in place of ours; Database then has the signing keys alone
	APIs        APIs          // who may ask about access tokens (RFC 7662) and revoke them (RFC 7009): secrets by client_id
	Passkeys    Passkeys      // how people sign in with them, like passkeys.New(); nil: they cannot
	Mail        *mail.Options // how letters are sent; nil: there are none, and nobody can set a new password by themselves

	VerifyEmailOff bool // with Mail: an account is made at once, without a link that verifies its address
	EmailLink      bool // with Mail: people may sign in by a mailed link or code, without their password

	// With Mail, paths of pages of yours that mailed links lead to, with the token behind the #; "" for ours.
	ResetPage  string // to set a new password on
	VerifyPage string // to confirm an address on
}

// What Options.Login may say.
const (
	LoginEmail    = "email"
	LoginUsername = "username"
)

// Hash is the cost of an argon2id hash. The zero value is the default: 47104 KiB, once, in one thread.
type Hash struct {
	Memory  int // KiB
	Time    int // passes over the memory
	Threads int

	InsecureCheap bool // allow any cost: for tests, which make many and keep none
}

// minimal are costs that are worth as much as the least recommended one each (OWASP, Password Storage), by memory.
var minimal = []struct{ memory, time int }{{7168, 5}, {9216, 4}, {12288, 3}, {19456, 2}, {47104, 1}}

// Limits of what a hash may cost, whoever wrote it: one login must not stop the others.
const (
	mostMemory  = 256 << 10 // KiB
	mostTime    = 32
	mostThreads = 16
)

func (o Options) withDefaults() Options {
	if o.Login == "" {
		o.Login = LoginEmail
	}
	if o.Title == "" {
		o.Title = "Account of this site"
	}
	o.Hash = o.Hash.WithDefaults()
	if o.Tokens.Lifetime == 0 {
		o.Tokens.Lifetime = 10 * time.Minute
	}
	if o.Tokens.Format == "" {
		o.Tokens.Format = FormatJWT
	}
	if o.Tokens.Algorithm == "" {
		o.Tokens.Algorithm = "ES256"
	}
	return o
}

// WithDefaults fills in what h leaves open.
func (h Hash) WithDefaults() Hash {
	if h.Memory == 0 {
		h.Memory = 47104
	}
	if h.Time == 0 {
		h.Time = 1
	}
	if h.Threads == 0 {
		h.Threads = 1
	}
	return h
}

// Check says what is wrong with h, its defaults filled in: it is weaker than any that is recommended, or out of bounds.
func (h Hash) Check() error {
	if h.Memory > mostMemory || h.Time < 1 || h.Time > mostTime || h.Threads < 1 || h.Threads > mostThreads {
		return fmt.Errorf("memory is at most %d KiB, time 1 to %d, threads 1 to %d", mostMemory, mostTime, mostThreads)
	}
	if h.InsecureCheap {
		return nil
	}
	for _, m := range minimal {
		if h.Memory >= m.memory && h.Time >= m.time {
			return nil
		}
	}
	return errors.New("this is easily guessed; take at least memory 47104 with time 1, or 19456 with 2, 12288 with 3, 9216 with 4, 7168 with 5")
}

// check says what is wrong with o. base is where the endpoints are.
func (o Options) check(base *url.URL) error {
	var wrong []error
	if o.Database == nil {
		wrong = append(wrong, errors.New("a database is needed: sqlite.OpenAccounts or postgres.OpenAccounts"))
	}
	if o.Login != LoginEmail && o.Login != LoginUsername {
		wrong = append(wrong, fmt.Errorf("login: %q is neither email nor username", o.Login))
	}
	if err := o.Hash.Check(); err != nil {
		wrong = append(wrong, fmt.Errorf("hash: %w", err))
	}
	if o.Mail == nil && o.EmailLink {
		wrong = append(wrong, errors.New("email_link: there is no mail to send it by"))
	}
	for name, page := range map[string]string{"reset_page": o.ResetPage, "verify_page": o.VerifyPage} {
		if page == "" {
			continue
		}
		if o.Mail == nil {
			wrong = append(wrong, fmt.Errorf("%s: there is no mail that could lead there", name))
		}
		if u, err := url.Parse(page); err != nil || u.Path != page || !strings.HasPrefix(page, "/") || strings.HasPrefix(page, "//") {
			wrong = append(wrong, fmt.Errorf("%s: %q is no path", name, page))
		}
	}
	if o.Users != nil && (o.Mail != nil || o.Passkeys != nil || o.RegisterOff || o.VerifyEmailOff) {
		wrong = append(wrong, errors.New("mail, passkeys, register_off and verify_email_off are for accounts that are here; with users of your own they are where these are"))
	}
	if o.Mail != nil {
		if err := o.Mail.Check(); err != nil {
			wrong = append(wrong, fmt.Errorf("mail: %w", err))
		}
		if o.Login != LoginEmail {
			wrong = append(wrong, errors.New("mail: there are no e-mail addresses where people sign in with user names"))
		}
		if o.Mail.Server == mail.ToLog && !origin.IsLocal(base.Hostname()) {
			wrong = append(wrong, fmt.Errorf("mail: the log is for development, at a URL of this machine: whoever reads it could take over every account at %s", base.Host))
		}
	}
	t := o.Tokens
	if t.Lifetime < leastLife || t.Lifetime > mostLife {
		wrong = append(wrong, fmt.Errorf("tokens: lifetime is %s to %s", leastLife, mostLife))
	}
	if t.Format != FormatJWT && t.Format != FormatOpaque {
		wrong = append(wrong, fmt.Errorf("tokens: format: %q is neither jwt nor opaque", t.Format))
	}
	if err := o.APIs.check(); err != nil {
		wrong = append(wrong, err)
	}
	if !slices.Contains(Algorithms, t.Algorithm) {
		wrong = append(wrong, fmt.Errorf("tokens: alg: %q is none of %s", t.Algorithm, strings.Join(Algorithms, ", ")))
	}
	for _, name := range t.Claims {
		if FixedClaim(name) {
			wrong = append(wrong, fmt.Errorf("tokens: claims: %s is set by the issuer itself", name))
		}
	}
	return errors.Join(wrong...)
}

// budget bounds what a call waits for the database.
const budget = 5 * time.Second
