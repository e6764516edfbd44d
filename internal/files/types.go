package files

import (
	"path"
	"strings"
)

// types are the media types of what a front end is built of. The list is ours, so that an answer does not depend on the
// machine. An extension that is not here is application/octet-stream, and may be part of a page's address.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".htm": "text/html; charset=utf-8", ".xhtml": "application/xhtml+xml; charset=utf-8",
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8",
	".cjs": "text/javascript; charset=utf-8", ".map": "application/json; charset=utf-8", ".json": "application/json; charset=utf-8",
	".webmanifest": "application/manifest+json; charset=utf-8", ".wasm": "application/wasm",
	".txt": "text/plain; charset=utf-8", ".md": "text/markdown; charset=utf-8", ".csv": "text/csv; charset=utf-8",
	".xml": "text/xml; charset=utf-8", ".xsl": "text/xml; charset=utf-8", ".rss": "application/rss+xml; charset=utf-8",
	".atom": "application/atom+xml; charset=utf-8", ".ics": "text/calendar; charset=utf-8", ".vtt": "text/vtt; charset=utf-8",
	".graphql": "application/graphql; charset=utf-8", ".yaml": "application/yaml; charset=utf-8", ".yml": "application/yaml; charset=utf-8",

	".svg": "image/svg+xml; charset=utf-8", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
	".webp": "image/webp", ".avif": "image/avif", ".ico": "image/x-icon", ".bmp": "image/bmp", ".apng": "image/apng",
	".woff2": "font/woff2", ".woff": "font/woff", ".ttf": "font/ttf", ".otf": "font/otf", ".eot": "application/vnd.ms-fontobject",
	".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".ogv": "video/ogg", ".mov": "video/quicktime",
	".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".ogg": "audio/ogg", ".opus": "audio/ogg", ".wav": "audio/wav", ".flac": "audio/flac",
	".glb": "model/gltf-binary", ".gltf": "model/gltf+json", ".pdf": "application/pdf", ".zip": "application/zip",
	".gz": "application/gzip", ".br": "application/octet-stream", ".zst": "application/zstd",
}

// typeOf returns the media type of the file called name.
func typeOf(name string) string {
	if t := types[strings.ToLower(path.Ext(name))]; t != "" {
		return t
	}
	if name == ".well-known/apple-app-site-association" { // has no extension, and Apple wants it as JSON
		return "application/json"
	}
	return "application/octet-stream"
}

func isHTML(contentType string) bool { return strings.HasPrefix(contentType, "text/html") }

// isDocument reports whether a browser that navigates there runs the script inside.
func isDocument(contentType string) bool {
	return isHTML(contentType) || strings.Contains(contentType, "xml")
}
