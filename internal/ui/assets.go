package ui

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"path"
	"strings"
	"time"
)

type asset struct {
	contentType string
	content     []byte
}

// add takes in an embedded file and returns its address, which changes with its content.
func (p *Pages) add(name, contentType string) string {
	content, err := folder.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // the folder is embedded: only a wrong name gets here, and every test would
	}
	return p.keep(name, contentType, content)
}

// keep serves content under an address that changes with it.
func (p *Pages) keep(name, contentType string, content []byte) string {
	sum := sha256.Sum256(content)
	ext := path.Ext(name)
	hashed := strings.TrimSuffix(name, ext) + "-" + hex.EncodeToString(sum[:6]) + ext
	p.assets[hashed] = asset{contentType, content}
	return p.prefix + "assets/" + hashed
}

// Assets returns the handler for everything under prefix + "assets/"; it looks at the whole path. What it serves never
// changes under its address.
func (p *Pages) Assets() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "This address can only be read.", http.StatusMethodNotAllowed)
			return
		}
		name, _ := strings.CutPrefix(r.URL.Path, p.prefix+"assets/")
		a, ok := p.assets[name]
		if !ok {
			h.Set("Cache-Control", "no-store")
			http.Error(w, "Not found.", http.StatusNotFound)
			return
		}
		h.Set("Content-Type", a.contentType)
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		h.Set("Etag", `"`+name+`"`)
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.content))
	})
}
