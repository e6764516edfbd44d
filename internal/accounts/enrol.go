package accounts

import (
	"bytes"
	"context"

	"github.com/cloakroom-go/cloakroom/internal/mail"
	"github.com/cloakroom-go/cloakroom/session"
)

// newcomer is who an account is made for by a ceremony: the device keeps the passkey under the account's id.
type newcomer struct {
	ID         string `json:"a"`
	Identifier string `json:"i"`
	Name       string `json:"n,omitempty"`
}

// RegistersByPasskey reports whether people may make an account with a passkey and no password.
func (a *Accounts) RegistersByPasskey() bool { return a.Registers() && a.TakesPasskeys() }

// BeginAccount begins to make an account of a passkey alone, within one login. The errors are those of Register; where an account is made by
// a mailed link nobody is told IdentifierTaken.
func (a *Accounts) BeginAccount(ctx context.Context, p session.Pending, r Registration, address string) (Ceremony, error) {
	const op = "register by passkey"
	if !a.RegistersByPasskey() {
		return Ceremony{}, session.Fail(session.NotFound, op, "nobody registers by a passkey here")
	}
	if err := a.throttle.Register(address); err != nil {
		return Ceremony{}, err
	}
	key, err := a.nameOf(&r)
	if err != nil {
		return Ceremony{}, err
	}
	if a.Verifies() {
		if _, err := mailbox(r.Identifier); err != nil {
			return Ceremony{}, err
		}
	} else if taken, err := a.db.byKey(ctx, a.o.Login, key); err != nil {
		return Ceremony{}, err
	} else if taken != nil { // told now, as Register would: else the device keeps a passkey that opens nothing
		return Ceremony{}, session.Fail(session.IdentifierTaken, op, "there is one of that name")
	}
	who := &newcomer{ID: newID(), Identifier: r.Identifier, Name: r.Name}
	options, pending, err := a.o.Passkeys.Create(a.base.Hostname(), a.origin, handleOf(who.ID), who.Identifier, nil)
	return a.ceremony(options, pending, err, who, "register\x00"+p.Challenge())
}

// enrolled looks at what came of the ceremony that BeginAccount began for the same login, and spends it.
func (a *Accounts) enrolled(op string, p session.Pending, name, sealed, response string, spend func() error) (*newcomer, *newPasskey, error) {
	c, err := a.resumeCeremony(op, sealed, response, "register\x00"+p.Challenge(), ceremonyLife)
	if err != nil {
		return nil, nil, err
	}
	if c.Who == nil || !a.RegistersByPasskey() {
		return nil, nil, session.Fail(session.NotFound, op, "nobody registers by a passkey here")
	}
	made, err := a.created(op, c, name, response, spend)
	return c.Who, made, err
}

// FinishAccount makes the account that BeginAccount began for the same login: it has no password. name is that of the passkey, spend that of AddPasskey.
// WrongPasskey: as of AddPasskey; IdentifierTaken: somebody was first; NotFound: there are accounts by a mailed link alone.
func (a *Accounts) FinishAccount(ctx context.Context, p session.Pending, name, sealed, response string, spend func() error) (*Account, error) {
	const op = "register by passkey"
	if a.Verifies() {
		return nil, session.Fail(session.NotFound, op, "an account is made by a mailed link here")
	}
	who, made, err := a.enrolled(op, p, name, sealed, response, spend)
	if err != nil {
		return nil, err
	}
	key, err := keyOf(a.o.Login, who.Identifier)
	if err != nil {
		return nil, err
	}
	account := newAccount(a.o.Login, who.Identifier, who.Name, "")
	account.ID = who.ID
	err = a.db.within(ctx, opAdd, func(ctx context.Context, tx *transaction) error {
		if err := account.insert(ctx, tx, a.o.Login, key); err != nil {
			return err
		}
		return made.insert(ctx, tx, op, account)
	})
	if err != nil {
		return nil, err
	}
	return account, nil
}

// MailAccount is FinishAccount where an address is verified before there is an account: it mails a link, as RegisterByMail does and with its errors, and
// returns the address.
func (a *Accounts) MailAccount(ctx context.Context, p session.Pending, name, sealed, response, state, address string, spend func() error) (string, error) {
	who, made, err := a.enrolled("register by passkey", p, name, sealed, response, spend)
	if err != nil {
		return "", err
	}
	of := detail{Email: who.Identifier, Name: who.Name, State: state, Passkey: &linkedPasskey{
		Account: who.ID, ID: made.id, Credential: made.credential, Name: made.name,
	}}
	return who.Identifier, a.mailAccount(ctx, of, address)
}

// mailAccount mails a link that makes an account, or tells its owner that there is one.
func (a *Accounts) mailAccount(ctx context.Context, of detail, address string) error {
	key, err := emailKey(of.Email)
	if err != nil {
		return err
	}
	to, err := mailbox(of.Email)
	if err != nil {
		return err
	}
	of.Key = key
	return a.mailing(key, address, func() error {
		return a.post(ctx, func(ctx context.Context, line *mail.Line) error {
			account, err := a.db.byKey(ctx, LoginEmail, key)
			if err != nil {
				return err
			}
			if account != nil {
				return line.Send(a.seal(a.haveOne("register"), to))
			}
			return a.sendLink(ctx, line, forRegistration, "", of, to, func(token string) letter {
				return letter{
					Subject: "Confirm your address at " + a.base.Host,
					Text:    "Somebody, probably you, is making an account at " + a.base.Host + " with this address. This works once, within 10 minutes:",
					Link:    a.linkFor(a.o.VerifyPage, VerifyPath, token), Button: "Confirm the address",
					Rest: "If it was not you, there is nothing to do: without this no account is made.",
				}
			})
		})
	})
}

// AskToProve begins to ask whoever opened a link for the passkey that its account is made of.
func (a *Accounts) AskToProve(c *Confirmation) (Ceremony, error) {
	if !c.ByPasskey || !a.TakesPasskeys() {
		return Ceremony{}, session.Fail(session.NotFound, "begin passkey", "the account is made of a password")
	}
	options, pending, err := a.o.Passkeys.Ask(a.base.Hostname(), a.origin)
	return a.ceremony(options, pending, err, nil, "prove\x00"+c.l.hash)
}

// ProveByPasskey is Prove for an account that is made of a passkey: it finishes what AskToProve began for the same link. spend is that of
// AddPasskey. WrongPasskey: it is another.
func (a *Accounts) ProveByPasskey(c *Confirmation, sealed, response string, spend func() error) error {
	const op = "verify passkey"
	begun, err := a.resumeCeremony(op, sealed, response, "prove\x00"+c.l.hash, ceremonyLife)
	if err != nil {
		return err
	}
	made := c.l.Passkey
	_, _, err = a.o.Passkeys.Asked(a.base.Hostname(), a.origin, begun.Pending, []byte(response), func(id []byte) ([]byte, []byte, error) {
		if made == nil || !bytes.Equal(id, made.ID) {
			return nil, nil, session.Fail(session.WrongPasskey, op, "the account is made of another")
		}
		return handleOf(made.Account), bytes.Clone(made.Credential), nil
	})
	if err != nil {
		return &session.Error{Code: session.WrongPasskey, Op: op, Err: err}
	}
	return spend()
}
