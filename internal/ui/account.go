package ui

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"rsc.io/qr"
)

// AccountPage shows a person what there is of theirs, in sections. Everything but Title may be left out.
type AccountPage struct {
	Title, Text string
	Notice      string // what has just been done, as a sentence
	Sections    []Section
	Links       []Link // the first is the main one where Main says so
	Main        bool
}

// Section is a part of a page with a heading of its own.
type Section struct {
	Title, Text string
	Rows        []Row
	Codes       []string // to write down
	Link        Link     // to more of it
	Button      *Button
}

// Row is one thing: what it is, and what can be done with it.
type Row struct {
	Name, Text string
	Link, Also Link
	Button     *Button
}

// Button posts Hidden to Action, a path on our own origin.
type Button struct {
	Action, Name string
	Hidden       url.Values
}

// Account answers 200 with a page of sections.
func (p *Pages) Account(w http.ResponseWriter, a AccountPage) {
	v := view{Title: a.Title, Text: a.Text, Notice: a.Notice, Wide: true}
	for i, s := range a.Sections {
		one := section{ID: "section-" + strconv.Itoa(i), Title: s.Title, Text: s.Text, Codes: s.Codes, Link: s.Link, Button: newButton(s.Button, "")}
		for j, r := range s.Rows {
			id := one.ID + "-" + strconv.Itoa(j)
			one.Rows = append(one.Rows, row{ID: id, Name: r.Name, Text: r.Text, Link: r.Link, Also: r.Also, Button: newButton(r.Button, id)})
		}
		v.Sections = append(v.Sections, one)
	}
	for i, l := range a.Links {
		v.link(l.URL, l.Name, a.Main && i == 0)
	}
	p.write(w, http.StatusOK, v, policy{formAction: "'self'", referrer: "same-origin"})
}

type section struct {
	ID, Title, Text string
	Rows            []row
	Codes           []string
	Link            Link
	Button          *button
}

type row struct {
	ID, Name, Text string
	Link, Also     Link
	Button         *button
}

type button struct {
	Action, Name string
	Of           string // the element that says what it is about
	Fields       []field
}

func newButton(b *Button, of string) *button {
	if b == nil {
		return nil
	}
	return &button{Action: b.Action, Name: b.Name, Of: of, Fields: newForm("", b.Hidden, "").Fields}
}

// Scan is what another device reads from the screen.
type Scan struct {
	URI    string // shown as a QR code
	Text   string // says what to do without a camera, and stands before Secret
	Secret string // to type instead
}

// quiet is how many modules around a QR code stay white (ISO/IEC 18004 §6.3.8).
const quiet = 4

type scan struct {
	Size               int
	Path, Text, Secret string
}

// newScan draws the code as one path: no image has to be fetched, and the policy of the page stays as it is. What does not fit a QR
// code is shown without one.
func newScan(s *Scan) *scan {
	if s == nil {
		return nil
	}
	v := &scan{Text: s.Text, Secret: s.Secret}
	code, err := qr.Encode(s.URI, qr.M)
	if err != nil {
		return v
	}
	v.Size = code.Size + 2*quiet
	var path strings.Builder
	for y := range code.Size {
		for x := 0; x < code.Size; x++ {
			from := x
			for x < code.Size && code.Black(x, y) {
				x++
			}
			if n := strconv.Itoa(x - from); x > from {
				path.WriteString("M" + strconv.Itoa(from+quiet) + " " + strconv.Itoa(y+quiet) + "h" + n + "v1h-" + n + "z")
			}
		}
	}
	v.Path = path.String()
	return v
}

// Passkey is a form that a script fills in with what a ceremony of WebAuthn returns, as its field response.
type Passkey struct {
	Action   string // path on our own origin
	Hidden   url.Values
	Ceremony string // create or get, of navigator.credentials
	Options  string // for it, as JSON
	Button   string
	Beside   bool   // there is another way on the page
	Autofill bool   // a field of the page has "webauthn" in its Autocomplete: browsers may offer passkeys there
	Failed   string // says that nothing came of it, as a sentence
	Without  string // says that it needs script; may be ""
}

type passkey struct {
	Passkey
	Fields []field
}

func newPasskey(k *Passkey) *passkey {
	if k == nil {
		return nil
	}
	return &passkey{*k, newForm("", k.Hidden, "").Fields}
}
