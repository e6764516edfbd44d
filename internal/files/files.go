// Package files serves a folder of a built front end: a single-page app or plain pages.
//
// It answers GET and HEAD, with ranges, validators, pre-compressed siblings and a fallback page for navigations. Nothing
// outside the folder is ever served, no folder is ever listed, and dot files do not exist. The folder is opened anew for
// each request, so a deployment may replace it, or a link to it, while the program runs.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/net/http/httpguts"
)

// StarterCSP is the Content-Security-Policy of a route that names none. It allows what a built front end loads from its own
// origin, and inline styles, which many frameworks write.
//
// It has no form-action: Chromium applies that to redirects too, and a plain logout form ends at the provider. An app with
// a <base> element needs a policy of its own.
const StarterCSP = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; " +
	"object-src 'none'; base-uri 'none'; frame-ancestors 'none'"

// Options are those of one route. The zero value is a single-page app that anyone may load.
type Options struct {
	Fallback string            // file for a navigation to a path without one; "" is index.html, "-" is none
	Headers  map[string]string // set on every answer of the route, over our own; an empty value takes a header away
	CSP      string            // Content-Security-Policy of documents; "" is StarterCSP, "off" is none
	Private  bool              // the route needs a session: shared caches must not keep its files
}

// Handler serves one folder. It may be used by many goroutines at once.
type Handler struct {
	dir      string
	fallback string // "" for none
	csp      string // "" for none
	headers  map[string]string
	scope    string // of Cache-Control: "public, " or "private, "
}

// New returns a Handler for the files under dir. It fails, in words for an operator, if dir is not a folder that can be read,
// or an option cannot be obeyed. A fallback is only looked for if it was named.
func New(dir string, o Options) (*Handler, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("files: %s: %w", dir, err)
	}
	info, err := os.Stat(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("files: %s: there is no such folder (build the front end first, or correct the path)", dir)
	case err == nil && !info.IsDir():
		return nil, fmt.Errorf("files: %s is a file; name the folder it is in", dir)
	case err != nil:
		return nil, fmt.Errorf("files: %s: %w", dir, err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, fmt.Errorf("files: %s: %w", dir, err)
	}
	defer root.Close()

	h := &Handler{dir: abs, csp: o.CSP, headers: make(map[string]string, len(o.Headers)), scope: "public, "}
	if o.Private {
		h.scope = "private, "
	}
	switch h.csp {
	case "":
		h.csp = StarterCSP
	case "off":
		h.csp = ""
	}
	switch o.Fallback {
	case "":
		h.fallback = "index.html"
	case "-":
	default:
		if hidden(o.Fallback) || !fs.ValidPath(o.Fallback) {
			return nil, fmt.Errorf("files: fallback %q: name a file inside %s, without a leading / or dot", o.Fallback, dir)
		}
		if found, err := root.Stat(o.Fallback); err != nil || !found.Mode().IsRegular() {
			return nil, fmt.Errorf("files: fallback %q: there is no such file in %s", o.Fallback, dir)
		}
		h.fallback = o.Fallback
	}
	for name, value := range o.Headers {
		if err := CheckHeader(name, value); err != nil {
			return nil, fmt.Errorf("files: headers: %q: %w", name, err)
		}
		h.headers[http.CanonicalHeaderKey(name)] = value
	}
	return h, nil
}

// CheckHeader refuses a header of Options that would break an answer, or split it in two.
func CheckHeader(name, value string) error {
	switch http.CanonicalHeaderKey(name) {
	case "Content-Length", "Content-Encoding", "Content-Range", "Transfer-Encoding", "Connection", "Etag", "Last-Modified",
		"Trailer", "Upgrade", "Set-Cookie":
		return errors.New("this header is not the operator's to set")
	}
	if !httpguts.ValidHeaderFieldName(name) {
		return errors.New("not a header name")
	}
	if !httpguts.ValidHeaderFieldValue(value) {
		return errors.New("the value holds a control character")
	}
	return nil
}

// ServeHTTP answers for the file at r.URL.Path, which is relative to the route and clean, except that a trailing slash has
// been kept: a folder asked for without one is redirected, so that relative links work.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		h.refuse(w, http.StatusMethodNotAllowed, "This address can only be read.")
		return
	}
	root, err := os.OpenRoot(h.dir)
	if err != nil {
		w.Header().Set("Retry-After", "1") // a deployment is replacing it
		h.refuse(w, http.StatusServiceUnavailable, "Not available right now.")
		return
	}
	defer root.Close()

	name := strings.TrimPrefix(r.URL.Path, "/")
	found, err := find(root, name)
	switch {
	case err == nil && found.IsDir && name != "" && !strings.HasSuffix(name, "/"):
		h.redirect(w, r, path.Base(name)+"/")
		return
	case err == nil:
		err = h.serve(w, r, root, found.Name, "Accept-Encoding")
	case errors.Is(err, fs.ErrNotExist) && h.fallback != "" && isNavigation(name, r):
		err = h.serve(w, r, root, h.fallback, "Accept, Accept-Encoding")
	}
	switch {
	case err == nil:
	case isOverload(err):
		w.Header().Set("Retry-After", "1")
		h.refuse(w, http.StatusServiceUnavailable, "Not available right now.")
	default:
		h.refuse(w, http.StatusNotFound, "Not found.")
	}
}

// target is what a path stands for: a file, or the index of a folder.
type target struct {
	Name  string
	IsDir bool
}

// find looks name up. Its errors are fs.ErrNotExist for what is simply not there, and others for what may not be asked for.
func find(root *os.Root, name string) (target, error) {
	clean := strings.TrimSuffix(name, "/")
	if clean == "" {
		clean = "."
	}
	local, err := filepath.Localize(clean) // refuses .., NUL, and what the operating system would read differently
	if err != nil || strings.Contains(clean, `\`) || hidden(clean) {
		return target{}, fs.ErrInvalid
	}
	info, err := root.Stat(local)
	switch {
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG):
		return target{}, fs.ErrNotExist // below a file; or longer than a file's name can be, as a page's address may
	case err != nil:
		return target{}, err
	case info.Mode().IsRegular() && clean == name:
		return target{Name: clean}, nil
	case !info.IsDir():
		return target{}, fs.ErrNotExist
	}
	index := path.Join(clean, "index.html")
	if info, err = root.Stat(filepath.FromSlash(index)); err != nil {
		return target{}, err
	}
	if !info.Mode().IsRegular() {
		return target{}, fs.ErrNotExist
	}
	return target{Name: index, IsDir: true}, nil
}

// hidden reports whether a part of name begins with a dot. /.well-known is public (RFC 8615), what is hidden in it is not.
func hidden(name string) bool {
	name = strings.TrimPrefix(name, ".well-known/")
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > 1 && part[0] == '.' {
			return true
		}
	}
	return false
}

// isNavigation reports whether the fallback may answer for a name without a file: a person wants a page. A script that is
// not there, or a well-known address, must never be answered with HTML.
func isNavigation(name string, r *http.Request) bool {
	if strings.HasPrefix(name, ".well-known/") {
		return false
	}
	if ext := strings.ToLower(path.Ext(name)); ext != ".html" && types[ext] != "" {
		return false
	}
	return quality(r.Header.Values("Accept"), "text/html") > 0
}

// serve answers with the file called name, or one of its compressed siblings. vary names what the choice depended on. After
// an error nothing has been written.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, root *os.Root, name, vary string) error {
	f, info, err := open(root, name)
	if err != nil {
		return err
	}
	defer func() { f.Close() }()
	encoding, packed, packedInfo := sibling(root, name, info, r)
	if packed != nil {
		f.Close()
		f, info = packed, packedInfo
	}
	tag, err := tagOf(f, info, name, encoding)
	if err != nil {
		return err
	}

	contentType := typeOf(name)
	head := w.Header()
	head.Set("Content-Type", contentType)
	head.Set("Etag", tag)
	head.Add("Vary", vary)
	if isHashed(name) && !isHTML(contentType) {
		head.Set("Cache-Control", h.scope+"max-age=31536000, immutable")
	} else {
		head.Set("Cache-Control", strings.TrimPrefix(h.scope, "public, ")+"no-cache")
	}
	if isDocument(contentType) {
		if h.csp != "" {
			head.Set("Content-Security-Policy", h.csp)
		}
		head.Set("Cross-Origin-Opener-Policy", "same-origin")
		head.Set("Referrer-Policy", "strict-origin-when-cross-origin")
	}
	if encoding != "" {
		head.Set("Content-Encoding", encoding)
		r = sizeEncoded(head, r, info.Size())
	}
	h.own(head)
	http.ServeContent(w, r, "", info.ModTime(), f)
	return nil
}

// sizeEncoded does what ServeContent leaves out for an encoded file. It states the length, unless the answer may be a 412,
// which has no body; and it has several ranges at once ignored (RFC 9110 §14.2 allows that), because a multipart answer is
// not itself encoded.
func sizeEncoded(head http.Header, r *http.Request, size int64) *http.Request {
	if r.Header.Get("If-Match") == "" && r.Header.Get("If-Unmodified-Since") == "" {
		head.Set("Content-Length", strconv.FormatInt(size, 10))
	}
	if strings.Contains(r.Header.Get("Range"), ",") {
		r = r.Clone(r.Context())
		r.Header.Del("Range")
	}
	return r
}

// open opens a regular file. It looks before it opens, because opening a pipe waits for a writer.
func open(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	local := filepath.FromSlash(name)
	info, err := root.Stat(local)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fs.ErrNotExist
	}
	f, err := root.Open(local)
	if err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, nil, errors.Join(fs.ErrNotExist, err)
	}
	return f, info, nil
}

// redirect sends the browser to a sibling of the address it asked for; relative, because only the mount knows the rest.
func (h *Handler) redirect(w http.ResponseWriter, r *http.Request, to string) {
	head := w.Header()
	head.Set("Location", (&url.URL{Path: to, RawQuery: r.URL.RawQuery}).String())
	h.refuse(w, http.StatusTemporaryRedirect, "It is a folder.")
}

// refuse answers with one plain sentence.
func (h *Handler) refuse(w http.ResponseWriter, status int, sentence string) {
	head := w.Header()
	head.Set("Content-Type", "text/plain; charset=utf-8")
	head.Set("Cache-Control", "no-cache")
	if status == http.StatusNotFound {
		head.Add("Vary", "Accept") // a navigation may get the fallback
	}
	h.own(head)
	w.WriteHeader(status)
	io.WriteString(w, sentence+"\n")
}

// own adds what every answer of the route has, last, so that the operator's word counts.
func (h *Handler) own(head http.Header) {
	head.Set("X-Content-Type-Options", "nosniff")
	for key, value := range h.headers {
		if value == "" {
			head.Del(key)
		} else {
			head.Set(key, value)
		}
	}
}

// isOverload reports whether err says something of the machine, not of the file.
func isOverload(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.EIO)
}
