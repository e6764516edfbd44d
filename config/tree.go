package config

import (
	"errors"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// kind tells what a value of the file is.
type kind uint8

const (
	nothing kind = iota // a key without a value, ~ or null
	scalar
	list
	mapping
)

func (k kind) String() string {
	return [...]string{"nothing", "a single value", "a list", "keys with values"}[k]
}

// value is one value of the file. The part that kind names is set.
type value struct {
	kind  kind
	at    place
	text  string // of a scalar, ${NAME} replaced
	raw   string // of a scalar, as it is written
	bad   bool   // of a scalar: a variable is missing, which was said already
	items []value
	pairs []pair
}

type pair struct {
	key   string
	at    place
	value value
}

// place is where something stands: in the file, or in an environment variable.
type place struct {
	line, column int
	env          string
}

// What a file may be at most. The parser calls itself for each level, and takes quadratic time for some nonsense.
const (
	maxBytes  = 1 << 20
	maxTokens = 50_000
	maxDepth  = 16
)

// tree parses YAML. It takes the part of the language that configuration needs: mappings, lists and scalars, in block or flow
// style. Anchors, aliases, tags and the like are refused, and with them whatever can be built from them.
func (r *reading) tree(text string, origin place) (value, bool) {
	tokens := lexer.Tokenize(text)
	if !r.acceptable(tokens, origin) {
		return value{}, false
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err, origin)
		return value{}, false
	}
	b := builder{r: r, origin: origin}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil {
			bodies = append(bodies, doc.Body)
		}
	}
	switch len(bodies) {
	case 0:
		return value{at: b.place(nil)}, true
	case 1:
		return b.value(bodies[0], 0), true
	}
	r.wrong(b.place(bodies[1].GetToken()), "a second document begins here; the configuration is one document")
	return value{}, false
}

var notTaken = map[token.Type]string{
	token.AnchorType:     "anchors (&name) are not used here: write the value where it is needed. If it is meant as text, quote it",
	token.AliasType:      "aliases (*name) are not used here: write the value where it is needed. If it is meant as text, quote it",
	token.TagType:        "tags (!name) are not used here. If it is meant as text, quote it",
	token.MergeKeyType:   "merge keys (<<) are not used here: write the keys where they are needed",
	token.MappingKeyType: "complex keys (?) are not used here",
	token.DirectiveType:  "directives (%NAME) are not used here",
}

// acceptable looks at the tokens before the parser does, because the parser calls itself for each level.
func (r *reading) acceptable(tokens token.Tokens, origin place) bool {
	b := builder{r: r, origin: origin}
	depth, dashes := 0, 0
	for _, t := range tokens {
		if text, ok := notTaken[t.Type]; ok {
			r.wrong(b.place(t), "%s", text)
			return false
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		}
		if t.Type == token.SequenceEntryType {
			dashes++
		} else {
			dashes = 0
		}
		if depth > maxDepth || dashes > maxDepth || t.Position.IndentNum > 8*maxDepth {
			r.wrong(b.place(t), "this is nested too deep")
			return false
		}
	}
	if len(tokens) > maxTokens {
		r.wrong(b.place(tokens[maxTokens]), "this is too much for a configuration")
		return false
	}
	return true
}

var flowReference = regexp.MustCompile(`[\[{,:]\s*\$\{`)

// syntax says what the parser found, in words that help with the mistakes people make.
func (r *reading) syntax(err error, origin place) {
	b := builder{r: r, origin: origin}
	var s *yaml.SyntaxError
	if !errors.As(err, &s) || s.Token == nil {
		r.wrong(b.place(nil), "this is not YAML")
		return
	}
	at, line := b.place(s.Token), ""
	if origin.env == "" && at.line <= len(r.lines) {
		line = r.lines[at.line-1]
	}
	text := strings.TrimSuffix(s.Message, ".")
	switch indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]; {
	case strings.Contains(indent, "\t"):
		text, at.column = "a tab indents this line; YAML wants spaces", strings.Index(line, "\t")+1
	case strings.Contains(text, "end character of"):
		text = "this quote is not closed"
	case strings.Contains(text, "']' not found"):
		text = "this [ is not closed"
	case strings.Contains(text, "'}' not found"):
		text = "this { is not closed"
	case flowReference.MatchString(line) && strings.ContainsAny(line, "[{"):
		text = `inside [ ] and { } a variable needs quotes: "${NAME}"`
	case strings.Contains(text, "is a reserved character"):
		text += "; quote the value"
	case strings.Contains(text, "mapping value is not allowed"), strings.Contains(text, "value is not allowed in this context"),
		strings.Contains(text, "pre-defined"):
		text = `this does not fit here: either the line is indented differently from its neighbours, or the value has a ": " in it and needs quotes`
	}
	r.wrong(at, "%s", text)
}

// builder makes values of the parser's nodes.
type builder struct {
	r      *reading
	origin place
}

func (b *builder) place(t *token.Token) place {
	switch {
	case b.origin.env != "":
		return b.origin
	case t == nil || t.Position == nil:
		return place{line: 1, column: 1}
	}
	return place{line: max(t.Position.Line, 1), column: max(t.Position.Column, 1)}
}

func (b *builder) value(n ast.Node, depth int) value {
	v := value{at: b.place(n.GetToken())}
	if depth > maxDepth {
		b.r.wrong(v.at, "this is nested too deep")
		return v
	}
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.MappingNode:
		v.kind = mapping
		b.mapping(&v, n.Values, depth)
	case *ast.MappingValueNode:
		v.kind = mapping
		b.mapping(&v, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		v.kind = list
		for _, item := range n.Values {
			v.items = append(v.items, b.value(item, depth+1))
		}
	case *ast.LiteralNode:
		v.kind, v.raw = scalar, strings.TrimSuffix(n.Value.Value, "\n")
		b.r.expand(&v)
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		v.kind, v.raw = scalar, n.GetToken().Value
		b.r.expand(&v)
	default:
		b.r.wrong(v.at, "this is not used in a configuration")
	}
	return v
}

func (b *builder) mapping(v *value, pairs []*ast.MappingValueNode, depth int) {
	seen := make(map[string]place, len(pairs))
	for _, p := range pairs {
		t := p.Key.GetToken()
		key, at := t.Value, b.place(t)
		if first, twice := seen[key]; twice {
			b.r.wrong(at, "key %q is there twice, first in line %d", key, first.line)
			continue
		}
		seen[key] = at
		one := value{at: at}
		if p.Value != nil {
			one = b.value(p.Value, depth+1)
		}
		v.pairs = append(v.pairs, pair{key: key, at: at, value: one})
	}
	if len(v.pairs) > 0 {
		if first := v.pairs[0].at; first.line < v.at.line || first.line == v.at.line && first.column < v.at.column {
			v.at = first // a block mapping begins at its first key; the parser says at its first colon
		}
	}
}

var variable = regexp.MustCompile(`\$?\$\{([^}]*)\}`)
var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand replaces ${NAME} by the variable's value, once: what comes out is not looked at again. $${ stands for ${.
func (r *reading) expand(v *value) {
	v.text = variable.ReplaceAllStringFunc(v.raw, func(found string) string {
		if strings.HasPrefix(found, "$$") {
			return found[1:]
		}
		name := found[2 : len(found)-1]
		if !variableName.MatchString(name) {
			v.bad = true
			r.wrong(v.at, "%q is no name of a variable; write ${NAME}, or $${ for the characters themselves", found)
			return ""
		}
		r.env.used[name] = true
		text, ok := r.env.vars[name]
		if !ok {
			v.bad = true
			r.wrong(v.at, "the environment has no variable %s", name)
		}
		return text
	})
}
