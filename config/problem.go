package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Problem is one mistake, and where it is.
type Problem struct {
	File   string // as it was named; "environment" for a variable
	Line   int    // from 1; 0 for a variable
	Column int    // from 1, in characters; 0 for a variable
	Text   string // what is wrong and what to write instead
	Source string // the line itself, secrets masked; "" where there is none
	caret  int    // where in Source the mistake is, from 1
}

// String is `cloakroom.yaml:12:5: unknown key "clientid" (did you mean "client_id"?)`, then the line itself with a caret.
func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	head := fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
	if p.Source == "" {
		return head
	}
	return fmt.Sprintf("%s\n%5d | %s\n      | %s^", head, p.Line, p.Source, strings.Repeat(" ", p.caret-1))
}

// Problems is all that is wrong with a configuration, in the order of the file; variables come last.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

const (
	widestSource = 160 // characters of a line that an error shows
	mostProblems = 50
)

// source returns a line of the file as an error may show it, and where in it the place is.
func (r *reading) source(at place) (string, int) {
	if at.line < 1 || at.line > len(r.lines) {
		return "", 1
	}
	text := strings.Map(printable, r.masked()[at.line-1])
	column := min(max(at.column, 1), utf8.RuneCountInString(text)+1)
	if runes := []rune(text); len(runes) > widestSource {
		from := max(0, min(column-widestSource/2, len(runes)-widestSource))
		return string(runes[from : from+widestSource]), min(column-from, widestSource)
	}
	return text, column
}

func printable(c rune) rune {
	switch {
	case c == '\t':
		return ' ' // the caret counts characters
	case c < ' ' || c == 0x7f || c == utf8.RuneError:
		return '?'
	}
	return c
}

var (
	keyInLine  = regexp.MustCompile(`(?:^|[\s{,\[-])["']?([A-Za-z0-9_.-]+)["']?\s*:(?:\s|$)`)
	secretWord = regexp.MustCompile(`(?i)secret|passw|token$|^keys?$|_keys?$|apikey|credential`)
	secretText = regexp.MustCompile(`cloakroom-key-[A-Za-z0-9_-]+`)
	database   = regexp.MustCompile(`(?i)(postgres(?:ql)?:).*@`) // whatever is in the password
	inQuery    = regexp.MustCompile(`(?i)([?&](?:ssl)?password=)[^&\s"']*`)
	userInURL  = regexp.MustCompile(`(://)[^/@\s"']*@`)
	keyFile    = regexp.MustCompile(`^\s*["']?[\w./~@+-]+\.(?:pem|key|crt)["']?\s*(?:$|[,}\]]|\s#)`)
	anyFile    = regexp.MustCompile(`^\s*["']?\.{0,2}/[\w./~@+-]{1,200}["']?\s*(?:$|[,}\]]|\s#)`)
	reference  = regexp.MustCompile(`^[\s\-\["']*(?:$|#|\{ *"?file"? *:|"?\$\{[A-Za-z_][A-Za-z0-9_]*\}["']?[\s\]}]*$)`)
)

// secretKeys are the options that hold secrets: what looks like one of them is one, misspelt.
var secretKeys = []string{"client_secret", "keys"}

const mask = "[secret]"

// masked returns the lines of the file without the secrets in them. It goes by the names of keys and not by the tree, because
// the file that has no tree, or has a secret under a misspelt key, is the one that gets quoted. It hides rather too much.
func (r *reading) masked() []string {
	if r.shown != nil {
		return r.shown
	}
	r.shown = make([]string, 0, len(r.lines))
	hiding := false // a line without a key continues the value of the last one
	tls := -1       // where the tls begins that we are in
	for _, line := range r.lines {
		from := 0
		if keys := keyInLine.FindAllStringSubmatchIndex(line, -1); keys != nil {
			hiding, from = false, 0
			if keys[0][2] <= tls {
				tls = -1
			}
			for _, k := range keys {
				name, rest := line[k[2]:k[3]], line[k[1]:]
				if name == "tls" {
					tls = k[2]
				}
				isFile := name == "file" || name == "key" && (keyFile.MatchString(rest) || tls >= 0 && anyFile.MatchString(rest))
				if !isFile && (secretWord.MatchString(name) || nearest(name, secretKeys) != "") {
					hiding, from = true, k[1]
					break
				}
			}
		} else {
			from = len(line) - len(strings.TrimLeft(line, " -"))
		}
		if hiding && !reference.MatchString(line[from:]) {
			line = line[:from] + mask
		}
		r.shown = append(r.shown, redact(line))
	}
	return r.shown
}

// redact hides what is a secret wherever it stands.
func redact(text string) string {
	text = secretText.ReplaceAllString(text, mask)
	text = database.ReplaceAllString(text, "${1}//"+mask+"@")
	text = inQuery.ReplaceAllString(text, "${1}"+mask)
	return userInURL.ReplaceAllString(text, "${1}"+mask+"@")
}

// nearest returns the candidate that was probably meant, or "".
func nearest(word string, candidates []string) string {
	best, least := "", 1+tolerance(word)
	for _, c := range candidates {
		if d := distance(plain(word), plain(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// tolerance is how many mistakes a word may have and still be taken for another.
func tolerance(word string) int { return max(1, min(len(word)/3, 4)) }

// plain drops what people get wrong most: case, and how words are joined.
func plain(word string) string {
	return strings.NewReplacer("_", "", "-", "", ".", "").Replace(strings.ToLower(word))
}

// distance counts the letters to insert, drop, replace or swap with their neighbour. Words longer than any key are far from
// all.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var d [65][65]int // of the first i letters of a and the first j of b
	for i := range len(a) + 1 {
		for j := range len(b) + 1 {
			if i == 0 || j == 0 {
				d[i][j] = i + j
				continue
			}
			replace := d[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			d[i][j] = min(replace, d[i-1][j]+1, d[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}

func didYouMean(word string, candidates []string) string { return guess(nearest(word, candidates)) }

func guess(word string) string {
	if word == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", word)
}
