// Package passkeys does WebAuthn for the accounts of a gateway: give New() to cloakroom.Accounts.Passkeys, and people can sign in with
// passkeys. It is a package of its own so that a program without them does not carry the library.
package passkeys

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// How long ceremonies may take: to make a passkey, and to be asked for one. A page to sign in on waits for one as long as it is open.
const (
	Lifetime    = 5 * time.Minute
	AskLifetime = 10 * time.Minute
)

// Passkeys does the ceremonies, for a relying party whose id is host and whose pages are at exactly origin. It keeps nothing: pending,
// which a ceremony begins with, has to be kept from change and used once by the caller. The user has to be verified each time, by a PIN
// or by what they are, and a credential has to be discoverable.
type Passkeys struct{}

// New returns the ceremonies.
func New() Passkeys { return Passkeys{} }

func party(host, origin string) (*webauthn.WebAuthn, error) {
	limit := func(d time.Duration) webauthn.TimeoutConfig {
		return webauthn.TimeoutConfig{Enforce: true, Timeout: d, TimeoutUVD: d}
	}
	return webauthn.New(&webauthn.Config{
		RPID: host, RPDisplayName: host, RPOrigins: []string{origin},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: protocol.ResidentKeyRequired(),
			UserVerification: protocol.VerificationRequired,
		},
		Timeouts:                          webauthn.TimeoutsConfig{Login: limit(AskLifetime), Registration: limit(Lifetime)},
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore, // password managers add some; none is used
	})
}

// user is one person, with the credentials that matter in a ceremony.
type user struct {
	handle      []byte
	name        string
	credentials []webauthn.Credential
}

func (u user) WebAuthnID() []byte                         { return u.handle }
func (u user) WebAuthnName() string                       { return u.name }
func (u user) WebAuthnDisplayName() string                { return u.name }
func (u user) WebAuthnCredentials() []webauthn.Credential { return u.credentials }

// Create begins to make a passkey for the person of a handle, 1 to 64 bytes that say nothing about them. known are their credentials,
// which are not to be made twice on one device. options are for navigator.credentials.create, as JSON.
func (Passkeys) Create(host, origin string, handle []byte, name string, known [][]byte) (options, pending []byte, err error) {
	w, err := party(host, origin)
	if err != nil {
		return nil, nil, err
	}
	u := user{handle: handle, name: name}
	var exclude []protocol.CredentialDescriptor
	for _, text := range known {
		var c webauthn.Credential
		if err := json.Unmarshal(text, &c); err != nil {
			return nil, nil, err
		}
		exclude = append(exclude, c.Descriptor())
	}
	creation, data, err := w.BeginRegistration(u, webauthn.WithExclusions(exclude))
	if err != nil {
		return nil, nil, err
	}
	return both(creation.Response, data)
}

// resume takes up a ceremony that was begun before.
func resume(host, origin string, pending []byte) (*webauthn.WebAuthn, webauthn.SessionData, error) {
	var data webauthn.SessionData
	w, err := party(host, origin)
	if err == nil {
		err = json.Unmarshal(pending, &data)
	}
	return w, data, err
}

// Created reads what navigator.credentials.create returned, as JSON. credential is what Asked needs later, and no secret.
func (Passkeys) Created(host, origin string, pending, response []byte) (id, credential []byte, err error) {
	w, data, err := resume(host, origin, pending)
	if err != nil {
		return nil, nil, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return nil, nil, said(err)
	}
	c, err := w.CreateCredential(user{handle: data.UserID}, data, parsed)
	if err != nil {
		return nil, nil, said(err)
	}
	credential, err = json.Marshal(c)
	return c.ID, credential, err
}

// Ask begins a sign-in by whatever passkey the person takes. options are for navigator.credentials.get, as JSON.
func (Passkeys) Ask(host, origin string) (options, pending []byte, err error) {
	w, err := party(host, origin)
	if err != nil {
		return nil, nil, err
	}
	assertion, data, err := w.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, nil, err
	}
	return both(assertion.Response, data)
}

// Asked reads what navigator.credentials.get returned, as JSON. find returns the handle and the credential of an id. changed is what has
// to be kept in the place of that credential, so that its counter only grows.
func (Passkeys) Asked(host, origin string, pending, response []byte, find func(id []byte) (handle, credential []byte, err error)) (id, changed []byte, err error) {
	w, data, err := resume(host, origin, pending)
	if err != nil {
		return nil, nil, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return nil, nil, said(err)
	}
	var findErr error
	c, err := w.ValidateDiscoverableLogin(func(id, _ []byte) (webauthn.User, error) {
		handle, text, err := find(id)
		u := user{handle: handle, credentials: make([]webauthn.Credential, 1)}
		if err == nil {
			err = json.Unmarshal(text, &u.credentials[0])
		}
		findErr = err
		return u, err
	}, data, parsed)
	switch {
	case findErr != nil:
		return nil, nil, findErr
	case err != nil:
		return nil, nil, said(err)
	case c.Authenticator.CloneWarning:
		return nil, nil, errors.New("the counter of the passkey went back: there is a copy of it")
	}
	changed, err = json.Marshal(c)
	return c.ID, changed, err
}

func both(options, data any) ([]byte, []byte, error) {
	text, err1 := json.Marshal(options)
	pending, err2 := json.Marshal(data)
	return text, pending, errors.Join(err1, err2)
}

// said adds what the library keeps for developers.
func said(err error) error {
	var e *protocol.Error
	if errors.As(err, &e) && e.DevInfo != "" {
		return errors.New(e.Details + ": " + e.DevInfo)
	}
	return err
}
