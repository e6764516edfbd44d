package demo

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
)

// What a ledger holds at most, and for how long.
const (
	maxFamilies = 256
	maxPeople   = 256
	familyLife  = 24 * time.Hour
)

// ledger is what the identity provider must know after a restart: its keys, and which refresh tokens are good. It is one
// file, replaced as a whole, so that it is never half written.
type ledger struct {
	path string

	mu   sync.Mutex
	page ledgerPage
}

type ledgerPage struct {
	Version      int                `json:"version"`
	GatewayKey   string             `json:"gateway_key"`
	ClientSecret string             `json:"client_secret"`
	Port         int                `json:"port"` // part of the issuer, so it stays
	SigningKey   jose.JSONWebKey    `json:"signing_key"`
	Families     map[string]*family `json:"families"`
	People       map[string]person  `json:"people"`
}

// family is all the refresh tokens that descend from one login. Only the newest is good; an older one means that two hold
// the family, and it ends (RFC 9700 §4.14.2).
type family struct {
	Person   person    `json:"person"`
	SID      string    `json:"sid"`
	Scope    string    `json:"scope"`
	SignedIn time.Time `json:"signed_in"`
	Newest   []byte    `json:"newest"` // SHA-256 of the newest token's secret part
	Ends     time.Time `json:"ends"`
}

// person is someone who signed in.
type person struct {
	Subject  string `json:"sub"`
	Username string `json:"username"`
	Name     string `json:"name"`
	Email    string `json:"email"`
}

// openLedger reads the ledger at path, or begins one. newKey makes the gateway's key.
func openLedger(path string, newKey func() string) (*ledger, error) {
	l := &ledger{path: path}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := l.begin(newKey()); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, fmt.Errorf("read the demo's state: %w", err)
	default:
		if err := json.Unmarshal(text, &l.page); err != nil {
			return nil, fmt.Errorf("read the demo's state: %s: %w", path, err)
		}
		if l.page.Version != 1 || !l.page.SigningKey.Valid() {
			return nil, fmt.Errorf("read the demo's state: %s is of another version", path)
		}
	}
	return l, nil
}

func (l *ledger) begin(gatewayKey string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make a signing key: %w", err)
	}
	l.page = ledgerPage{
		Version: 1, GatewayKey: gatewayKey, ClientSecret: rand.Text(),
		SigningKey: jose.JSONWebKey{Key: key, KeyID: rand.Text()[:8], Algorithm: string(jose.RS256), Use: "sig"},
		Families:   make(map[string]*family), People: make(map[string]person),
	}
	return l.write()
}

// setPort notes where the provider listens.
func (l *ledger) setPort(port int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.page.Port = port
	return l.write()
}

// write replaces the file. The caller holds mu.
func (l *ledger) write() error {
	text, err := json.Marshal(l.page)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(l.path), filepath.Base(l.path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write the demo's state: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), l.path)
	}
	if err != nil {
		return fmt.Errorf("write the demo's state: %w", err)
	}
	return nil
}

// found starts a family and returns its first refresh token.
func (l *ledger) found(f family) (id, token string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgetOld(time.Now())
	id = rand.Text()
	f.Ends = time.Now().Add(familyLife)
	l.page.Families[id] = &f
	token = f.next(id)
	return id, token, l.write()
}

// family returns the living family of that id.
func (l *ledger) family(id string) (family, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.page.Families[id]
	if !ok || !time.Now().Before(f.Ends) {
		return family{}, false
	}
	return *f, true
}

// errGrantOver says that a refresh token is good no more: unknown, out of date, or used before.
var errGrantOver = errors.New("the refresh token is unknown, expired, or was used before")

// rotate takes a refresh token and returns its family and its successor.
func (l *ledger) rotate(token string) (family, string, error) {
	id, secret, _ := strings.Cut(token, ".")
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.page.Families[id]
	if !ok {
		return family{}, "", errGrantOver
	}
	sum := sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare(sum[:], f.Newest) == 0 || !time.Now().Before(f.Ends) {
		delete(l.page.Families, id)
		return family{}, "", errors.Join(errGrantOver, l.write())
	}
	next := f.next(id)
	// Written before anyone is answered: a restart in between must not take the successor for an unknown token.
	if err := l.write(); err != nil {
		f.Newest = sum[:]
		return family{}, "", err
	}
	return *f, next, nil
}

// good reports whether a refresh token could be exchanged now, without doing so.
func (l *ledger) good(token string) bool {
	id, secret, _ := strings.Cut(token, ".")
	sum := sha256.Sum256([]byte(secret))
	f, ok := l.family(id)
	return ok && subtle.ConstantTimeCompare(sum[:], f.Newest) == 1
}

// next makes the family's next refresh token.
func (f *family) next(id string) string {
	secret := rand.Text()
	sum := sha256.Sum256([]byte(secret))
	f.Newest = sum[:]
	return id + "." + secret
}

// end ends the families that match.
func (l *ledger) end(match func(id string, f *family) bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.page.Families)
	for id, f := range l.page.Families {
		if match(id, f) {
			delete(l.page.Families, id)
		}
	}
	if len(l.page.Families) == before {
		return nil
	}
	return l.write()
}

func (l *ledger) forgetOld(now time.Time) {
	var oldest string
	for id, f := range l.page.Families {
		if !now.Before(f.Ends) {
			delete(l.page.Families, id)
			continue
		}
		if first, ok := l.page.Families[oldest]; !ok || f.Ends.Before(first.Ends) {
			oldest = id
		}
	}
	if len(l.page.Families) >= maxFamilies {
		delete(l.page.Families, oldest)
	}
}

// meet returns the person of a username: the one who registered it, or one made up from it.
func (l *ledger) meet(username string) person {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p, ok := l.page.People[strings.ToLower(username)]; ok {
		return p
	}
	return newPerson(username, "", "")
}

// enrol keeps a person who registered. Somebody must make room when there are too many: it is a demonstration.
func (l *ledger) enrol(p person) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.page.People {
		if len(l.page.People) < maxPeople {
			break
		}
		delete(l.page.People, name)
	}
	l.page.People[strings.ToLower(p.Username)] = p
	return l.write()
}

// newPerson makes up what is not given. The same username is always the same subject.
func newPerson(username, name, email string) person {
	local, _, isAddress := strings.Cut(username, "@")
	if name == "" {
		first, size := utf8.DecodeRuneInString(local)
		name = string(unicode.ToUpper(first)) + local[size:]
	}
	switch {
	case email != "":
	case isAddress:
		email = username
	default:
		email = strings.ToLower(username) + "@demo.example"
	}
	sum := sha256.Sum256([]byte("demo subject " + strings.ToLower(username)))
	return person{Subject: base64.RawURLEncoding.EncodeToString(sum[:12]), Username: username, Name: name, Email: email}
}
