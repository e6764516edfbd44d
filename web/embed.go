// Package web holds the browser's side of Cloakroom: the TypeScript client, as it is served and as it is packed for npm.
package web

import (
	"crypto/sha256"
	_ "embed" // the built client
	"encoding/base64"
)

// Client is the built client, an ES module. It is committed; `npm run build` in client makes it anew.
//
//go:embed client/dist/client.js
var Client []byte

// ClientETag is the strong entity tag of Client, quotes included (RFC 9110 §8.8.3). Another Client has another tag.
var ClientETag = etag(Client)

func etag(content []byte) string {
	sum := sha256.Sum256(content)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
}
