package accounts

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// person is somebody as an import file has them.
type person struct {
	Subject       string         `json:"sub"`
	Email         string         `json:"email"`
	EmailVerified moment         `json:"email_verified"`
	Username      string         `json:"username"`
	Name          string         `json:"name"`
	Hash          string         `json:"password_hash"`
	Created       moment         `json:"created"`
	Disabled      moment         `json:"disabled"`
	Claims        map[string]any `json:"claims"`
}

// fields are those that a line of text can have, by their names. Others are claims: claims.NAME.
var fields = map[string]func(p *person) *string{
	"sub":            func(p *person) *string { return &p.Subject },
	"email":          func(p *person) *string { return &p.Email },
	"email_verified": func(p *person) *string { return (*string)(&p.EmailVerified) },
	"username":       func(p *person) *string { return &p.Username },
	"name":           func(p *person) *string { return &p.Name },
	"password_hash":  func(p *person) *string { return &p.Hash },
	"created":        func(p *person) *string { return (*string)(&p.Created) },
	"disabled":       func(p *person) *string { return (*string)(&p.Disabled) },
}

// moment is when something happened, "" for never. Where a file knows only that it did, that is at the time of the import.
type moment string

// UnmarshalJSON takes a text, true, false and null.
func (m *moment) UnmarshalJSON(text []byte) error {
	switch string(text) {
	case "true", "false":
		*m = moment(text)
		return nil
	}
	return json.Unmarshal(text, (*string)(m))
}

// forms of a time: RFC 3339, and what databases print.
var forms = []string{time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02"}

func (m moment) time(now time.Time) (time.Time, error) {
	switch strings.ToLower(string(m)) {
	case "", "false", "f", "no", "0":
		return time.Time{}, nil
	case "true", "t", "yes", "1":
		return now, nil
	}
	for _, form := range forms {
		if t, err := time.Parse(form, string(m)); err == nil && t.Year() > 1970 && t.Year() < 10_000 {
			return t, nil
		}
	}
	return time.Time{}, errors.New("it is neither true, false, nor a time like 2026-01-31T12:00:00Z")
}

// Limits of a person.
const (
	mostSubject = 128     // bytes
	mostClaims  = 4 << 10 // of JSON
)

// row is a person as the database has them.
type row struct {
	id                    string
	email, emailKey       any // nil for none
	username, usernameKey any
	verified              int64
	name, hash            string
	claims                string
	created, disabled     int64
	digest                []byte

	identifier, key string // what they sign in with, and how that is looked up
}

// row checks a person, and says all that is wrong by the name of its field. id is for one who brings none.
func (p *person) row(login, id string, now time.Time) (*row, error) {
	r := &row{id: id, name: strings.TrimSpace(p.Name), hash: p.Hash, claims: "{}"}
	var wrong []string
	bad := func(field string, err error) {
		if err != nil {
			wrong = append(wrong, field+": "+err.Error())
		}
	}
	if p.Subject != "" {
		if r.id = p.Subject; !goodSubject(r.id) {
			bad("sub", fmt.Errorf("it is no more than %d printable ASCII characters without spaces", mostSubject))
		}
	}
	bad(LoginEmail, r.identify(login, LoginEmail, p.Email, &r.email, &r.emailKey))
	bad(LoginUsername, r.identify(login, LoginUsername, p.Username, &r.username, &r.usernameKey))
	if !goodName(r.name) {
		bad("name", fmt.Errorf("it has more than %d bytes, or is not printable", mostDisplayName))
	}
	if p.Hash != "" {
		bad("password_hash", checkHash(p.Hash))
	}
	created, err := p.Created.time(now)
	bad("created", err)
	if created.IsZero() {
		created = now
	}
	r.created = millis(created)
	verified, err := p.EmailVerified.time(now)
	bad("email_verified", err)
	disabled, err := p.Disabled.time(now)
	bad("disabled", err)
	r.verified, r.disabled = millis(verified), millis(disabled)
	if len(p.Claims) > 0 {
		for name := range p.Claims {
			if name == "" || FixedClaim(name) {
				bad("claims", fmt.Errorf("%q is set by the issuer itself", name))
			}
		}
		text, err := json.Marshal(p.Claims)
		if err != nil || len(text) > mostClaims {
			bad("claims", fmt.Errorf("they have more than %d bytes", mostClaims))
		}
		r.claims = string(text)
	}
	text, err := json.Marshal(p) // as the file has it: true stays true, whenever it is read
	bad("the line", err)
	sum := sha256.Sum256(text)
	r.digest = sum[:16]
	if len(wrong) > 0 {
		return nil, errors.New(strings.Join(wrong, "; "))
	}
	return r, nil
}

// identify takes what a person is called by, of one kind, as it was typed and as it is looked up. login is the kind that they sign in with.
func (r *row) identify(login, kind, text string, typed, looked *any) error {
	text = strings.TrimSpace(text)
	if text == "" {
		if kind == login {
			return errors.New("it is missing, and what people sign in with")
		}
		return nil
	}
	key, err := keyOf(kind, text)
	if err != nil {
		return errors.Unwrap(err)
	}
	*typed, *looked = text, key
	if kind == login {
		r.identifier, r.key = text, key
	}
	return nil
}

// reader makes a person of a line. A whole line ended with a line end.
type reader func(line []byte, whole bool) (*person, error)

// readObject reads a line of JSON Lines. An object says by itself where it ends.
func readObject(line []byte, _ bool) (*person, error) {
	var p person
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	err := d.Decode(&p)
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errors.New("the line ends in the middle of an object")
	case errors.As(err, &kind) && kind.Field != "":
		return nil, fmt.Errorf("%s: a text is wanted, not a %s", kind.Field, kind.Value)
	case err != nil && strings.HasPrefix(err.Error(), "json: unknown field"):
		return nil, fmt.Errorf("there is no field %s here", strings.TrimPrefix(err.Error(), "json: unknown field "))
	case err != nil:
		return nil, errors.New("it is no object of JSON")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more behind the object")
	}
	return &p, nil
}

// readTable returns the reader of the lines below a header. Fields are separated by what separates those of the header: comma,
// semicolon or tab. login is the column that is needed.
func readTable(header []byte, login string) (reader, error) {
	text := string(header)
	comma := ','
	for _, c := range ";\t" {
		if strings.ContainsRune(text, c) && !strings.ContainsRune(text, ',') {
			comma = c
		}
	}
	names, err := split(text, comma)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for i, name := range names {
		name = strings.ToLower(strings.TrimSpace(name))
		claim, isClaim := strings.CutPrefix(strings.TrimSpace(names[i]), "claims.")
		switch {
		case isClaim && claim != "":
			name = "claims." + claim // claims tell upper from lower case
		case name == "password":
			return nil, errors.New("passwords in clear are not taken: a column password_hash has their hashes, and who has none asks for a new one")
		case fields[name] == nil:
			return nil, fmt.Errorf("the first line names the columns, and there is none called %q; there are sub, email, email_verified, username, name, password_hash, created, disabled and claims.NAME", name)
		}
		if seen[name] {
			return nil, fmt.Errorf("there are two columns %q", name)
		}
		seen[name], names[i] = true, name
	}
	if !seen[login] {
		return nil, fmt.Errorf("the first line names the columns, and %s is missing, which people sign in with", login)
	}
	return func(line []byte, whole bool) (*person, error) {
		if !whole {
			return nil, errors.New("the file ends in this line, without a line end: something may be missing")
		}
		values, err := split(string(line), comma)
		if err != nil {
			return nil, err
		}
		if len(values) != len(names) {
			return nil, fmt.Errorf("it has %d fields, and there are %d columns", len(values), len(names))
		}
		p := &person{}
		for i, v := range values {
			if claim, isClaim := strings.CutPrefix(names[i], "claims."); isClaim {
				if v == "" {
					continue
				}
				if p.Claims == nil {
					p.Claims = map[string]any{}
				}
				p.Claims[claim] = v
				continue
			}
			*fields[names[i]](p) = v
		}
		return p, nil
	}, nil
}

// split cuts a line of CSV (RFC 4180), which stands for itself: a line end in quotes is none that a person's fields have.
func split(line string, comma rune) ([]string, error) {
	if !strings.ContainsRune(line, '"') {
		return strings.Split(line, string(comma)), nil
	}
	r := csv.NewReader(strings.NewReader(line))
	r.Comma, r.FieldsPerRecord = comma, -1
	values, err := r.Read()
	if err != nil {
		return nil, errors.New("a quote that is not closed, or stands where none may")
	}
	return values, nil
}

// What ImportOptions.Format may say.
const (
	FormatCSV   = "csv"
	FormatLines = "jsonl"
)

// Formats are those of import files.
var Formats = []string{FormatCSV, FormatLines}

// formatOf looks at the first line: an object begins with a brace, and no column does.
func formatOf(named string, first []byte) string {
	switch {
	case slices.Contains(Formats, named):
		return named
	case bytes.HasPrefix(bytes.TrimSpace(first), []byte("{")):
		return FormatLines
	}
	return FormatCSV
}

// goodName reports whether name can be shown in a line of text. Nothing in it breaks the line, says anything to a terminal, or turns
// around what follows.
func goodName(name string) bool {
	return len(name) <= mostDisplayName && utf8.ValidString(name) && !strings.ContainsFunc(name, func(c rune) bool {
		return unicode.In(c, unicode.Cc, unicode.Zl, unicode.Zp) || c >= '\u202a' && c <= '\u202e' || c >= '\u2066' && c <= '\u2069'
	})
}
