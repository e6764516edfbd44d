package passkeys

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/descope/virtualwebauthn"

	"github.com/cloakroom-go/cloakroom/session"
)

const (
	host   = "app.example.com"
	origin = "https://app.example.com"
)

var here = virtualwebauthn.RelyingParty{ID: host, Name: host, Origin: origin}

// made is a passkey that was made, and what has to be kept of it.
type made struct {
	device     virtualwebauthn.Authenticator
	key        virtualwebauthn.Credential
	credential []byte
}

func create(t *testing.T, at virtualwebauthn.RelyingParty, o virtualwebauthn.AuthenticatorOptions) (made, error) {
	t.Helper()
	options, pending, err := New().Create(host, origin, []byte("ada"), "ada@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	asked, err := virtualwebauthn.ParseAttestationOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	o.UserHandle = []byte("ada")
	m := made{device: virtualwebauthn.NewAuthenticatorWithOptions(o), key: virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeRSA)}
	response := virtualwebauthn.CreateAttestationResponse(at, m.device, m.key, *asked)
	id, credential, err := New().Created(host, origin, pending, []byte(response))
	m.credential = credential
	if err == nil && !bytes.Equal(id, m.key.ID) {
		t.Errorf("id %x, want %x", id, m.key.ID)
	}
	return m, err
}

func (m *made) use(t *testing.T, at virtualwebauthn.RelyingParty, handle string) error {
	t.Helper()
	return m.useAfter(t, at, handle, 0)
}

// useAfter has the person take some time.
func (m *made) useAfter(t *testing.T, at virtualwebauthn.RelyingParty, handle string, pause time.Duration) error {
	t.Helper()
	options, pending, err := New().Ask(host, origin)
	if err != nil {
		t.Fatal(err)
	}
	asked, err := virtualwebauthn.ParseAssertionOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(pause)
	response := virtualwebauthn.CreateAssertionResponse(at, m.device, m.key, *asked)
	_, changed, err := New().Asked(host, origin, pending, []byte(response), func(id []byte) ([]byte, []byte, error) {
		if !bytes.Equal(id, m.key.ID) {
			return nil, nil, errors.New("unknown")
		}
		return []byte(handle), m.credential, nil
	})
	if err == nil {
		m.credential = changed
	}
	return err
}

func TestPasskeys_U13_CreateAndUse(t *testing.T) {
	m, err := create(t, here, virtualwebauthn.AuthenticatorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		m.key.Counter++
		if err := m.use(t, here, "ada"); err != nil {
			t.Fatal(err)
		}
	}
	m.key.Counter-- // a copy that was made before
	if err := m.use(t, here, "ada"); err == nil {
		t.Error("a counter that went back is taken")
	}
	m.key.Counter += 2
	if err := m.use(t, here, "eve"); err == nil {
		t.Error("somebody else's passkey is taken")
	}
}

// A page to sign in on may wait for as long as its login is there.
func TestPasskeys_U13_InTime(t *testing.T) {
	m, err := create(t, here, virtualwebauthn.AuthenticatorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		m.key.Counter++
		if err := m.useAfter(t, here, "ada", session.LoginLifetime-time.Second); err != nil {
			t.Error(err)
		}
		m.key.Counter++
		if err := m.useAfter(t, here, "ada", AskLifetime+time.Second); err == nil || !strings.Contains(err.Error(), "Expired") {
			t.Errorf("too late: %v", err)
		}
	})
}

// The user is verified each time, and the page is ours to the letter.
func TestPasskeys_U13_Refused(t *testing.T) {
	elsewhere := map[string]virtualwebauthn.RelyingParty{
		"AnotherOrigin": {ID: host, Name: host, Origin: "https://evil.example.com"},
		"AnotherPort":   {ID: host, Name: host, Origin: origin + ":8443"},
		"PlainHTTP":     {ID: host, Name: host, Origin: "http://app.example.com"},
		"AnotherParty":  {ID: "example.com", Name: host, Origin: origin},
	}
	m, err := create(t, here, virtualwebauthn.AuthenticatorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range elsewhere {
		if _, err := create(t, at, virtualwebauthn.AuthenticatorOptions{}); err == nil {
			t.Errorf("%s: it is made", name)
		}
		m.key.Counter++
		if err := m.use(t, at, "ada"); err == nil {
			t.Errorf("%s: it is used", name)
		}
	}
	for name, o := range map[string]virtualwebauthn.AuthenticatorOptions{"NotVerified": {UserNotVerified: true}, "NotPresent": {UserNotPresent: true}} {
		if _, err := create(t, here, o); err == nil {
			t.Errorf("%s: it is made", name)
		}
		o.UserHandle = []byte("ada")
		lazy := m
		lazy.device = virtualwebauthn.NewAuthenticatorWithOptions(o)
		lazy.key.Counter += 10
		if err := lazy.use(t, here, "ada"); err == nil {
			t.Errorf("%s: it is used", name)
		}
	}
	_, pending, err := New().Ask(host, origin)
	if err != nil {
		t.Fatal(err)
	}
	for _, response := range []string{"", "{}", "[]", `{"id":"AA","rawId":"AA","type":"public-key","response":{}}`, "\x00"} {
		if _, _, err := New().Asked(host, origin, pending, []byte(response), func([]byte) ([]byte, []byte, error) { return nil, nil, errors.New("unknown") }); err == nil {
			t.Errorf("%q is taken", response)
		}
		if _, _, err := New().Created(host, origin, pending, []byte(response)); err == nil {
			t.Errorf("%q makes a passkey", response)
		}
	}
}
