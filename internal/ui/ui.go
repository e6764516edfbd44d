// Package ui holds the few pages that are ours: what a person sees when they are not in their app.
//
// Each method writes a whole answer. The pages work without script, without style and by keyboard, follow the system's dark
// or light, and load nothing from elsewhere; nothing in them is inline, because their policy forbids it.
package ui

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

//go:embed pages.html account.html
var sources embed.FS

//go:embed assets
var folder embed.FS

var pages = template.Must(template.ParseFS(sources, "*.html")).Lookup("page")

// Pages writes our pages. It may be used by many goroutines at once.
type Pages struct {
	prefix              string
	assets              map[string]asset // by file name, hash included
	style, mark, submit string           // addresses
	more, logo          string           // of Options, or ""
	passkey             string
}

// Options are how the pages look.
type Options struct {
	Style string // file with a style sheet that comes after ours
	Logo  string // file with an image in the place of ours: svg, png, jpg or webp
}

// mostLook bounds the files of Options, in bytes: every visitor gets them.
const mostLook = 256 << 10

// logos are the kinds of images that a logo can be.
var logos = map[string]string{".svg": "image/svg+xml; charset=utf-8", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}

// Dress has the pages look like o says. It reads the files once.
func (p *Pages) Dress(o Options) error {
	take := func(name, file, contentType string) (string, error) {
		content, err := os.ReadFile(file)
		if err == nil && len(content) > mostLook {
			err = fmt.Errorf("%s has %d bytes; at most %d are taken", file, len(content), mostLook)
		}
		if err != nil {
			return "", err
		}
		return p.keep(name+strings.ToLower(filepath.Ext(file)), contentType, content), nil
	}
	var err1, err2 error
	if o.Style != "" {
		p.more, err1 = take("style", o.Style, "text/css; charset=utf-8")
	}
	if o.Logo != "" {
		kind, known := logos[strings.ToLower(filepath.Ext(o.Logo))]
		if p.logo, err2 = take("logo", o.Logo, kind); !known {
			err2 = fmt.Errorf("%s is none of svg, png, jpg, webp", o.Logo)
		}
	}
	return errors.Join(err1, err2)
}

// New returns the pages of a gateway whose endpoints live under prefix, such as "/auth/". It begins and ends with a slash.
func New(prefix string) *Pages {
	p := &Pages{prefix: prefix, assets: make(map[string]asset)}
	p.style = p.add("pages.css", "text/css; charset=utf-8")
	p.mark = p.add("mark.svg", "image/svg+xml; charset=utf-8")
	p.submit = p.add("submit.js", "text/javascript; charset=utf-8")
	p.passkey = p.add("passkey.js", "text/javascript; charset=utf-8")
	return p
}

// ErrorPage tells what went wrong. Title and Text are sentences for people; the rest may be "".
type ErrorPage struct {
	Title, Text string
	RequestID   string // the same as in the log
	TryAgain    string // address
	Home        string // address
}

// Error answers with e.
func (p *Pages) Error(w http.ResponseWriter, status int, e ErrorPage) {
	v := view{Title: e.Title, Text: e.Text, RequestID: e.RequestID}
	v.link(e.TryAgain, "Try again", true)
	v.link(e.Home, home, e.TryAgain == "")
	p.write(w, status, v, policy{})
}

// ForbiddenPage tells a signed-in person that they may not enter. Everything may be "".
type ForbiddenPage struct {
	SignIn    string // address for signing in as someone else
	RequestID string // the same as in the log
	Home      string // address
}

// Forbidden answers 403.
func (p *Pages) Forbidden(w http.ResponseWriter, e ForbiddenPage) {
	v := view{
		Title:     "This account has no access",
		Text:      "The page is open to other people only. If you have another account, sign in with it, or ask whoever runs this app to let you in.",
		RequestID: e.RequestID,
	}
	v.link(e.SignIn, "Sign in as someone else", true)
	v.link(e.Home, home, e.SignIn == "")
	p.write(w, http.StatusForbidden, v, policy{})
}

// Continue answers 200 with a page that goes on to target at once. The browser then asks for it from our own origin, so that
// SameSite=Strict cookies come along. target is a path on our origin, query and fragment included, percent-encoded where a URL
// needs it; anything else leads to "/".
func (p *Pages) Continue(w http.ResponseWriter, target string) {
	if !isLocal(target) {
		target = "/"
	}
	// Without quotes the address runs to the end of the attribute, whatever it holds: HTML, "shared declarative refresh steps".
	v := view{Title: "One moment", Text: passing, Refresh: "0;url=" + target, Passing: true}
	v.link(target, "Continue", true)
	p.write(w, http.StatusOK, v, policy{})
}

// SignedOutPage says where to go after signing out. Both addresses may be "".
type SignedOutPage struct {
	SignIn string
	Home   string
}

// SignedOut answers 200: the session is over.
func (p *Pages) SignedOut(w http.ResponseWriter, s SignedOutPage) {
	v := view{Title: "You are signed out", Text: "Your session here has ended. You can close this page now."}
	v.link(s.SignIn, "Sign in again", true)
	v.link(s.Home, home, s.SignIn == "")
	p.write(w, http.StatusOK, v, policy{})
}

// Choice is one way to sign in.
type Choice struct {
	Name string // as people call it
	URL  string
}

// Chooser answers 200 with the ways to sign in, in the order given.
func (p *Pages) Chooser(w http.ResponseWriter, choices []Choice) {
	v := view{Title: "Sign in", Text: "Choose where you have your account.", Choices: choices}
	p.write(w, http.StatusOK, v, policy{})
}

// Submit answers 200 with a form that posts fields to action, on another origin, by itself; without script a person presses
// its button. It carries what is too long for an address, or should not stand in one. action is an absolute http or https URL
// that the caller trusts with the fields.
func (p *Pages) Submit(w http.ResponseWriter, action string, fields url.Values) {
	v := view{Title: "One moment", Text: passing, Script: p.submit, Passing: true}
	v.Form = newForm(action, fields, "Continue")
	// Only the scheme, not the origin: Chromium applies form-action to every redirect after the post, and a provider leads
	// over hosts of its own and back to us. What is posted to https never goes on in clear.
	c := policy{formAction: "https:", script: true, referrer: "strict-origin"}
	if strings.HasPrefix(strings.ToLower(action), "http:") {
		c.formAction = anywhere
	}
	p.write(w, http.StatusOK, v, c)
}

// FormPage is a form of ours. Everything but Title, Action, Inputs and Button may be left out; with Passkey these, too.
type FormPage struct {
	Title, Text string
	Action      string     // path on our own origin
	Hidden      url.Values // fields that nobody sees
	Inputs      []Input
	Scan        *Scan
	Passkey     *Passkey
	Wrong       string // what is wrong with all of it, as a sentence
	Button      string
	Links       []Link // what else there is to do
	Others      []Link // other ways to the same, below all of it
	Username    string // whose form it is, for password managers; nobody sees it
	Secret      bool   // something in the page's own address opens something: nobody is told where the person comes from
}

// Input is a field to fill in.
type Input struct {
	Name, Label  string
	Type         string // of the input element: text, email, password; checkbox may be left out, and is sent as "1"
	Autocomplete string // what browsers and password managers may fill in (HTML, "autofill")
	Value        string
	Hint         string // what is wanted, as a sentence
	Wrong        string // what is wrong with Value, as a sentence
	Least        int    // characters, for browsers to say so; 0 for any number
	Most         int    // characters, after which browsers take no more; 0 for any number
	Digits       bool   // nothing else is in Value: phones show no letters
}

// Link leads elsewhere.
type Link struct{ URL, Name string }

// Form answers with a form. The first field with something wrong has the focus, else the first that is empty, so that nobody needs
// script or a pointer to go on.
func (p *Pages) Form(w http.ResponseWriter, status int, f FormPage) {
	v := view{Title: f.Title, Text: f.Text, Wrong: f.Wrong, Passkey: newPasskey(f.Passkey), Others: f.Others, Username: f.Username}
	if f.Button != "" {
		v.Form = newForm(f.Action, f.Hidden, f.Button)
	}
	c := policy{formAction: "'self'", referrer: "same-origin"}
	if f.Passkey != nil {
		v.Script, c.script = p.passkey, true
	}
	v.Scan = newScan(f.Scan)
	v.Failed = f.Wrong != "" || slices.ContainsFunc(f.Inputs, wrong)
	focus := slices.IndexFunc(f.Inputs, wrong)
	if focus < 0 {
		focus = slices.IndexFunc(f.Inputs, func(i Input) bool { return i.Value == "" && i.Type != "checkbox" })
	}
	for i, one := range f.Inputs {
		v.Form.Inputs = append(v.Form.Inputs, input{one, i == focus})
	}
	for _, l := range f.Links {
		v.link(l.URL, l.Name, false)
	}
	if f.Secret {
		c.referrer = ""
	}
	p.write(w, status, v, c)
}

// Notice answers with a page that says something, and where to go from there: the first link is the main one.
func (p *Pages) Notice(w http.ResponseWriter, status int, title, text string, links ...Link) {
	v := view{Title: title, Text: text}
	for i, l := range links {
		v.link(l.URL, l.Name, i == 0)
	}
	p.write(w, status, v, policy{})
}

func wrong(i Input) bool { return i.Wrong != "" }

const (
	home    = "Go to the start page"
	passing = "We are taking you there. If nothing happens, use the button."
)

// view is what the template shows, from top to bottom.
type view struct {
	Title     string
	Failed    bool // the title says so: it is what a screen reader reads first
	Text      string
	Notice    string
	Wrong     string
	Scan      *scan
	Choices   []Choice
	Sections  []section
	Passkey   *passkey
	Form      *form
	Links     []link
	Others    []Link
	Username  string
	RequestID string

	Refresh             string // of the meta element
	Passing             bool   // shown late, because it is mostly gone by then
	Wide                bool   // more to read than a ticket has room for
	Style, Mark, Script string // addresses
	More, Logo          string
}

type link struct {
	URL, Name string
	Main      bool
}

func (v *view) link(url, name string, main bool) {
	if url != "" {
		v.Links = append(v.Links, link{url, name, main})
	}
}

type form struct {
	Action, Button string
	Fields         []field
	Inputs         []input
}

type input struct {
	Input
	Focus bool
}

// Described lists the elements that say more about the field.
func (i input) Described() string {
	var ids []string
	if i.Wrong != "" {
		ids = append(ids, i.Name+"-wrong")
	}
	if i.Hint != "" {
		ids = append(ids, i.Name+"-hint")
	}
	return strings.Join(ids, " ")
}

type field struct{ Name, Value string }

func newForm(action string, values url.Values, button string) *form {
	f := &form{Action: action, Button: button}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, value := range values[name] {
			f.Fields = append(f.Fields, field{name, value})
		}
	}
	return f
}

// policy is in what the headers of one page differ from another's. The zero value is the strictest.
type policy struct {
	formAction string // CSP sources
	referrer   string
	script     bool
}

// anywhere is for a form that may lead over plain http too, as in development: Chromium applies form-action to redirects, and
// these lead to a provider.
const anywhere = "'self' https: http:"

func (c policy) String() string {
	s := "default-src 'none'; style-src 'self'; img-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action " +
		cmp.Or(c.formAction, "'none'")
	if c.script {
		s += "; script-src 'self'"
	}
	return s
}

// write answers with v.
func (p *Pages) write(w http.ResponseWriter, status int, v view, c policy) {
	v.Style, v.Mark, v.More, v.Logo = p.style, p.mark, p.more, p.logo
	var body bytes.Buffer
	if err := pages.Execute(&body, v); err != nil { // a fault of ours: the tests run every page
		http.Error(w, "Something went wrong.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", c.String())
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", cmp.Or(c.referrer, "no-referrer")) // the address of an error may hold a code
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(body.Bytes())
}

// isLocal reports whether a browser reads target as a path on the origin it is on, and does not drop any character of it.
func isLocal(target string) bool {
	if !utf8.ValidString(target) || !strings.HasPrefix(target, "/") || len(target) > 1 && (target[1] == '/' || target[1] == '\\') {
		return false
	}
	return !strings.ContainsFunc(target, func(c rune) bool { return c <= ' ' || c == 0x7f })
}
