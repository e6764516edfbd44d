package gateway

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/session"
)

// passkeysPath is where passkeys are made, for a front end with a form of its own.
const passkeysPath = "passkeys"

// factorEndpoints are what people sign in with beside their password, for a front end with a form of its own. Each is one of the account
// page's changes, in the same order: who asks proves who they are first.
func (g *Gateway) factorEndpoints() []endpoint {
	return []endpoint{
		{"POST", "login/step", entry, g.stepJSON, "The second step of a sign-in by mail (`POST login/code`), for a front end with a form of its own: `{\"state\", \"step\", \"code\"}`. Answered like `POST login`. 422 `wrong_code`; 401 `login_lost` after 5 minutes."},
		{"POST", "login/passkey", entry, g.askPasskeyJSON, "Begins a sign-in with a passkey: `{\"remember\"?}`. 200 with `{\"state\", \"ceremony\", \"options\"}`, the last for `navigator.credentials.get`, and a login cookie. Good for 10 minutes."},
		{"POST", "login/passkey/finish", entry, g.takePasskeyJSON, "… and `{\"state\", \"ceremony\", \"response\"}`, what came of it as `toJSON()` has it: answered like `POST login`. 422 `wrong_passkey`."},
		{"POST", registerPasskeyPath, entry, g.beginAccountJSON, "Begins to register with a passkey in the place of a password: `{\"identifier\", \"name\"?, \"remember\"?}`. 200 with `{\"state\", \"ceremony\", \"options\"}`, the last for `navigator.credentials.create`, and a login cookie. 409 `identifier_taken`, 422 `bad_identifier`. Not with `register: false`. With `accounts.verify_email` it tells nobody whether there is such an account."},
		{"POST", registerPasskeyPath + "/finish", entry, g.finishAccountJSON, "… and `{\"state\", \"ceremony\", \"response\", \"name\"?}` within 5 minutes, the name being that of the passkey: makes the account and signs in, answered like `POST login`. 409 `identifier_taken`, 422 `wrong_passkey`. With `accounts.verify_email` it signs in nobody: 202 with `{\"expires_in\"}`, and a mailed link makes the account; 429 `too_many`, 503 `mail_down`."},
		{"GET", "factors", guarded, g.factorsJSON, "What the person signs in with: `{\"password\": true, \"authenticator\": {\"created\"} | null, \"recovery_codes\": 10, \"passkeys\": [{\"id\", \"name\", \"created\", \"used\"?}]}`. Not an activity."},
		{"POST", passkeysPath + "/ask", guarded, g.askAgainJSON, "For a person without a password: begins what stands in the place of `current_password` in all below. 200 with `{\"ceremony\", \"options\"}`, the latter for `navigator.credentials.get`; then `ceremony` and `response` go where the password would, once and within 5 minutes. 422 `wrong_passkey`."},
		{"POST", "authenticator", guarded, g.offerJSON, "Begins to set up an authenticator app: `{\"current_password\"}`. 200 with `{\"secret\", \"uri\", \"offer\"}`; nothing is kept yet. 403 `wrong_password`. Like all below, with `code` where the account has a second step: 422 `code_required`, `wrong_code`."},
		{"POST", "authenticator/confirm", guarded, g.acceptJSON, "… and `{\"offer\", \"code\"}`, within 15 minutes, sets it up: all other sessions of the person end, and this one goes on under a new ticket, answered like `POST login`, with the 10 `recovery_codes`, which nobody is told again. It takes the place of another. 422 `wrong_code`."},
		{"POST", "authenticator/remove", guarded, g.removeAuthenticatorJSON, "Goes back to the password alone: `{\"current_password\", \"code\"}`. All other sessions of the person end; answered like `POST login`."},
		{"POST", "recovery-codes", guarded, g.recoveryJSON, "Replaces the recovery codes: `{\"current_password\", \"code\"}`. 200 with `{\"recovery_codes\"}`; 404 without a second step."},
		{"POST", passkeysPath, guarded, g.newPasskeyJSON, "Begins to make a passkey: `{\"current_password\"}`. 200 with `{\"ceremony\", \"options\"}`, the latter for `navigator.credentials.create`."},
		{"POST", passkeysPath + "/finish", guarded, g.addPasskeyJSON, "… and `{\"ceremony\", \"name\", \"response\"}` within 5 minutes: 204. 422 `wrong_passkey`."},
		{"POST", passkeysPath + "/remove", guarded, g.removePasskeyJSON, "Removes the passkey of an `id`: `{\"current_password\", \"id\"}`. All other sessions of the person end; answered like `POST login`. 409 `last_way` for the last one of a person without a password."},
		{"POST", passkeysPath + "/only", guarded, g.removePasswordJSON, "Removes the person's password: `{\"current_password\"}`. All other sessions of the person end; answered like `POST login`. 409 `last_way` without a passkey."},
	}
}

// proof is what shows once more who asks.
type proof struct {
	Current string `json:"current_password"`
	Code    string `json:"code"`

	// In the place of both, for a person without a password: what AskAgain began, and what came of it.
	Ceremony string          `json:"ceremony"`
	Response json.RawMessage `json:"response"`
}

// stepUp looks at a proof.
func (g *Gateway) stepUp(r *http.Request, s *session.Session, account *accounts.Account, p proof) (*accounts.Account, error) {
	if p.Ceremony != "" {
		return g.Accounts.ConfirmByPasskey(r.Context(), account, s.LogID, p.Ceremony, string(p.Response), g.once(r, p.Ceremony))
	}
	return g.Accounts.Confirm(r.Context(), account.ID, p.Current, p.Code, telemetry.Of(r).Address)
}

// proven is who asked, if what they brought is good (U8).
func (g *Gateway) proven(r *http.Request, p proof) (*session.Session, *accounts.Account, error) {
	s, account, err := g.active(r)
	if err != nil {
		return nil, nil, err
	}
	account, err = g.confirmed(r, s, account, p)
	return s, account, err
}

// confirmed is stepUp, and writes down who was refused.
func (g *Gateway) confirmed(r *http.Request, s *session.Session, account *accounts.Account, p proof) (*accounts.Account, error) {
	account, err := g.stepUp(r, s, account, p)
	if code := session.CodeOf(err); unproven(code) {
		g.record(r, s.Event(audit.Refused, string(code)))
	}
	return account, err
}

// unproven reports whether a code says that somebody did not show who they are.
func unproven(code session.Code) bool {
	switch code {
	case session.WrongPassword, session.WrongPasskey, session.CodeRequired, session.WrongCode, session.TooMany:
		return true
	}
	return false
}

// active is owner for somebody who does something.
func (g *Gateway) active(r *http.Request) (*session.Session, *accounts.Account, error) {
	s, err := g.Desk.Use(r.Context(), r)
	if err != nil {
		return nil, nil, err
	}
	return g.ownerOf(r, s)
}

func (g *Gateway) factorsJSON(w http.ResponseWriter, r *http.Request) error {
	s, account, err := g.owner(r)
	if err != nil {
		return err
	}
	f, err := g.Accounts.Factors(r.Context(), account)
	if err != nil {
		return err
	}
	keys, err := g.Accounts.Passkeys(r.Context(), account)
	if err != nil {
		return err
	}
	type since struct {
		Created *time.Time `json:"created"`
	}
	type passkey struct {
		ID      string     `json:"id"`
		Name    string     `json:"name"`
		Created *time.Time `json:"created"`
		Used    *time.Time `json:"used,omitempty"`
	}
	body := struct {
		Password      bool      `json:"password"`
		Authenticator *since    `json:"authenticator"`
		Recovery      int       `json:"recovery_codes"`
		Passkeys      []passkey `json:"passkeys"`
	}{Password: account.HasPassword(), Recovery: f.Recovery, Passkeys: []passkey{}}
	if !f.Authenticator.IsZero() {
		body.Authenticator = &since{seconds(f.Authenticator)}
	}
	for _, k := range keys {
		one := passkey{ID: k.ID, Name: k.Name, Created: seconds(k.Created)}
		if !k.Used.IsZero() {
			one.Used = seconds(k.Used)
		}
		body.Passkeys = append(body.Passkeys, one)
	}
	g.remember(r, s)
	return writeJSON(w, body)
}

func (g *Gateway) offerJSON(w http.ResponseWriter, r *http.Request) error {
	var p proof
	if err := readJSON(w, r, "set up authenticator", &p); err != nil {
		return err
	}
	s, account, err := g.proven(r, p)
	if err != nil {
		return err
	}
	offer := g.Accounts.Offer(account, s.LogID)
	g.remember(r, s)
	return writeJSON(w, struct {
		Secret string `json:"secret"`
		URI    string `json:"uri"`
		Offer  string `json:"offer"`
	}{offer.Secret, offer.URI, offer.Sealed})
}

func (g *Gateway) acceptJSON(w http.ResponseWriter, r *http.Request) error {
	var c struct {
		Offer string `json:"offer"`
		Code  string `json:"code"`
	}
	if err := readJSON(w, r, "set up authenticator", &c); err != nil {
		return err
	}
	s, account, err := g.active(r)
	if err != nil {
		return err
	}
	codes, err := g.Accounts.Accept(r.Context(), account, s.LogID, c.Offer, c.Code)
	if err != nil {
		return err
	}
	if s, err = g.anew(w, r, s, account, "authenticator", confirmedBy(account, true)...); err != nil {
		return err
	}
	return g.welcomed(w, s, codes)
}

func (g *Gateway) removeAuthenticatorJSON(w http.ResponseWriter, r *http.Request) error {
	var p proof
	if err := readJSON(w, r, "remove authenticator", &p); err != nil {
		return err
	}
	s, account, err := g.proven(r, p)
	if err != nil {
		return err
	}
	if s, err = g.dropAuthenticator(w, r, s, account); err != nil {
		return err
	}
	return g.welcomed(w, s, nil)
}

func (g *Gateway) recoveryJSON(w http.ResponseWriter, r *http.Request) error {
	var p proof
	if err := readJSON(w, r, "renew recovery codes", &p); err != nil {
		return err
	}
	s, account, err := g.proven(r, p)
	if err != nil {
		return err
	}
	codes, err := g.newRecovery(r, s, account)
	if err != nil {
		return err
	}
	return writeJSON(w, struct {
		Codes []string `json:"recovery_codes"`
	}{codes})
}

// begunCeremony is what a page needs for its browser's part.
type begunCeremony struct {
	State    string          `json:"state,omitempty"`
	Ceremony string          `json:"ceremony"`
	Options  json.RawMessage `json:"options"`
}

// finishedCeremony is what came of it.
type finishedCeremony struct {
	State    string          `json:"state"`
	Ceremony string          `json:"ceremony"`
	Name     string          `json:"name"`
	Response json.RawMessage `json:"response"`
}

func (g *Gateway) newPasskeyJSON(w http.ResponseWriter, r *http.Request) error {
	var p proof
	if err := readJSON(w, r, "begin passkey", &p); err != nil {
		return err
	}
	s, account, err := g.proven(r, p)
	if err != nil {
		return err
	}
	c, err := g.Accounts.NewPasskey(r.Context(), account, s.LogID)
	if err != nil {
		return err
	}
	g.remember(r, s)
	return writeJSON(w, begunCeremony{Ceremony: c.Sealed, Options: json.RawMessage(c.Options)})
}

func (g *Gateway) addPasskeyJSON(w http.ResponseWriter, r *http.Request) error {
	var c finishedCeremony
	if err := readJSON(w, r, "add passkey", &c); err != nil {
		return err
	}
	s, account, err := g.active(r)
	if err != nil {
		return err
	}
	if err := g.addPasskey(r, s, account, c.Name, c.Ceremony, string(c.Response)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (g *Gateway) removePasskeyJSON(w http.ResponseWriter, r *http.Request) error {
	var c struct {
		proof
		ID string `json:"id"`
	}
	if err := readJSON(w, r, "remove passkey", &c); err != nil {
		return err
	}
	s, account, err := g.proven(r, c.proof)
	if err != nil {
		return err
	}
	if s, err = g.dropPasskey(w, r, s, account, c.ID); err != nil {
		return err
	}
	return g.welcomed(w, s, nil)
}

func (g *Gateway) removePasswordJSON(w http.ResponseWriter, r *http.Request) error {
	var p proof
	if err := readJSON(w, r, "remove password", &p); err != nil {
		return err
	}
	s, account, err := g.proven(r, p)
	if err != nil {
		return err
	}
	if s, err = g.dropPassword(w, r, s, account); err != nil {
		return err
	}
	return g.welcomed(w, s, nil)
}

// askAgainJSON begins what stands in the place of the password for a person without one.
func (g *Gateway) askAgainJSON(w http.ResponseWriter, r *http.Request) error {
	if err := readJSON(w, r, "begin passkey", &struct{}{}); err != nil {
		return err
	}
	s, account, err := g.active(r)
	if err != nil {
		return err
	}
	c, err := g.Accounts.AskAgain(account, s.LogID)
	if err != nil {
		return err
	}
	g.remember(r, s)
	return writeJSON(w, begunCeremony{Ceremony: c.Sealed, Options: json.RawMessage(c.Options)})
}

func (g *Gateway) askPasskeyJSON(w http.ResponseWriter, r *http.Request) error {
	var c struct {
		Remember bool `json:"remember"`
	}
	if err := readJSON(w, r, "begin passkey", &c); err != nil {
		return err
	}
	if err := g.mayBegin(r); err != nil {
		return err
	}
	pending, err := g.beginJSON(r, c.Remember)
	if err != nil {
		return err
	}
	begun, err := g.Accounts.AskPasskey(pending)
	if err != nil {
		return err
	}
	g.logins.Start(w, r, pending, false)
	return writeJSON(w, begunCeremony{State: pending.State(), Ceremony: begun.Sealed, Options: json.RawMessage(begun.Options)})
}

func (g *Gateway) takePasskeyJSON(w http.ResponseWriter, r *http.Request) error {
	var c finishedCeremony
	if err := readJSON(w, r, "sign in with passkey", &c); err != nil {
		return err
	}
	pending, err := g.begun(r, c.State)
	if err != nil {
		return err
	}
	account, err := g.byPasskey(r, pending, c.Ceremony, string(c.Response))
	if err != nil {
		return err
	}
	if err := g.logins.Spend(r.Context(), w, pending, false); err != nil {
		return err
	}
	return g.welcome(w, r, account, pending.Remember, accounts.ByPasskey, accounts.Strongly)
}

// stepJSON is the second step of a sign-in whose first cannot be sent again.
func (g *Gateway) stepJSON(w http.ResponseWriter, r *http.Request) error {
	var c struct {
		State string `json:"state"`
		Step  string `json:"step"`
		Code  string `json:"code"`
	}
	if err := readJSON(w, r, "second step", &c); err != nil {
		return err
	}
	pending, err := g.begun(r, c.State)
	if err != nil {
		return err
	}
	account, methods, err := g.Accounts.Resume(r.Context(), pending, c.Step)
	if err != nil {
		return err
	}
	if err := g.checkCode(r, account, c.Code); err != nil {
		return err
	}
	if err := g.logins.Spend(r.Context(), w, pending, false); err != nil {
		return err
	}
	return g.welcome(w, r, account, pending.Remember, bothSteps(methods)...)
}

// bothSteps are the methods of a sign-in whose second step was right, too.
func bothSteps(first []string) []string {
	all := slices.Clone(first)
	for _, m := range []string{accounts.ByCode, accounts.Strongly} {
		if !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	return all
}
