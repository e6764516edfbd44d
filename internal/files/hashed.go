package files

import (
	"path"
	"regexp"
	"strings"
)

// uuid is random to the eye, but names a thing, not its content.
var uuid = regexp.MustCompile(`[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}`)

// isHashed reports whether name holds a hash of the file's content, as bundlers write it: index-B3x9kQ2a.js (Vite, Rollup),
// main-5PRFU5ZL.js (esbuild, Angular), main.8f3a1c2b.chunk.css (webpack, Parcel), and their source maps.
//
// A wrong yes keeps an old file in browsers for a year; a wrong no costs one conditional request. So it says no to whatever
// a person may have typed, and with it to about a quarter of the shortest hashes, those that look like words.
func isHashed(name string) bool {
	base := path.Base(name)
	if uuid.MatchString(base) {
		return false
	}
	parts := strings.Split(base, ".")
	for i, part := range parts[:len(parts)-1] { // the last is the extension
		if i == 0 && len(part) >= 16 && isHex(part) { // all of the name, webpack's way with images
			return true
		}
		if i > 0 && (isHex(part) || isBase(part)) {
			return true
		}
		if cut := strings.LastIndexByte(part, '-'); cut > 0 && isHex(part[cut+1:]) {
			return true
		}
		if cut := len(part) - 9; cut > 0 && part[cut] == '-' && isBase(part[cut+1:]) {
			return true
		}
	}
	return false
}

// isHex reports whether s is a hexadecimal hash and not a date, a number or a word with a number at one end.
func isHex(s string) bool {
	if len(s) < 8 || len(s) > 64 || strings.Trim(s, "0123456789abcdef") != "" {
		return false
	}
	changes := classChanges(s)
	return changes >= 2 || changes == 1 && len(s) >= 20
}

// isBase reports whether s is eight characters of a base64url or base32 hash, and not a word: SemiBold, Retina2x, SETTINGS.
func isBase(s string) bool {
	if len(s) != 8 {
		return false
	}
	if strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == "" {
		letters := strings.TrimRight(s, "234567") // VERSION2 is a word
		return strings.ContainsAny(letters, "234567")
	}
	return strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == "" && classChanges(s) >= 4
}

// classChanges counts how often s goes over from one of capitals, small letters, digits and signs to another.
func classChanges(s string) int {
	class := func(c byte) int {
		switch {
		case c >= '0' && c <= '9':
			return 0
		case c >= 'a' && c <= 'z':
			return 1
		case c >= 'A' && c <= 'Z':
			return 2
		}
		return 3
	}
	n := 0
	for i := 1; i < len(s); i++ {
		if class(s[i]) != class(s[i-1]) {
			n++
		}
	}
	return n
}
