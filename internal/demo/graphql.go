package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"text/scanner"
	"unicode/utf8"
)

// A GraphQL of two queries and a mutation, read by hand: enough to show that the gateway carries it like anything else.
//
//	query    { me { sub name email } notes { text at } }
//	mutation { addNote(text: "…") { text at } }
//
// Arguments may be variables; aliases work. There are no fragments, directives or subscriptions, and the answer says so.

const (
	maxQuery  = 4 << 10 // bytes
	maxFields = 40      // in one query, at all levels
)

// graphql answers a GraphQL request (GraphQL over HTTP, application/json).
func (c caller) graphql(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Query     string                     `json:"query"`
		Variables map[string]json.RawMessage `json:"variables"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		graphqlErrors(w, http.StatusBadRequest, errors.New("the body is no JSON object with a query"))
		return
	}
	op, err := parseQuery(in.Query)
	if err != nil {
		graphqlErrors(w, http.StatusBadRequest, err)
		return
	}
	answer := ordered{}
	for _, f := range op.fields {
		value, err := c.resolve(op, f, in.Variables)
		if err != nil {
			graphqlErrors(w, http.StatusOK, err)
			return
		}
		answer = append(answer, pair{f.alias, value})
	}
	writeJSON(w, http.StatusOK, map[string]any{"data": answer})
}

func graphqlErrors(w http.ResponseWriter, status int, err error) {
	writeJSON(w, status, map[string]any{"errors": []map[string]string{{"message": err.Error()}}})
}

// resolve answers one field of the root.
func (c caller) resolve(op operation, f field, variables map[string]json.RawMessage) (any, error) {
	if (f.name == "addNote") != op.mutation && f.name != "__typename" {
		return nil, fmt.Errorf("there is no field %q here", f.name)
	}
	switch f.name {
	case "me":
		p := c.profile()
		return f.pick("Person", map[string]any{"sub": p.Subject, "name": p.Name, "email": p.Email})
	case "notes":
		list := []any{}
		for _, n := range c.notes() {
			one, err := f.pick("Note", map[string]any{"text": n.Text, "at": n.At})
			if err != nil {
				return nil, err
			}
			list = append(list, one)
		}
		return list, f.check("Note", "text", "at")
	case "addNote":
		if err := f.check("Note", "text", "at"); err != nil { // before anything is written
			return nil, err
		}
		text, err := f.text(variables)
		if err != nil {
			return nil, err
		}
		n, err := c.write(text)
		if err != nil {
			return nil, err
		}
		return f.pick("Note", map[string]any{"text": n.Text, "at": n.At})
	case "__typename":
		if op.mutation {
			return "Mutation", nil
		}
		return "Query", nil
	}
	return nil, fmt.Errorf("there is no field %q here", f.name)
}

// operation is a parsed query or mutation.
type operation struct {
	mutation bool
	fields   []field
}

type field struct {
	alias, name string
	argument    string // of "text": a literal, or the name of a variable
	variable    bool
	given       bool
	fields      []field
}

// pick returns what f asks of an object, in the order it asks.
func (f field) pick(kind string, from map[string]any) (any, error) {
	if len(f.fields) == 0 {
		return nil, fmt.Errorf("%q needs a selection of fields", f.name)
	}
	out := ordered{}
	for _, sub := range f.fields {
		value, ok := from[sub.name]
		if sub.name == "__typename" {
			value, ok = kind, true
		}
		if !ok || len(sub.fields) > 0 || sub.given {
			return nil, fmt.Errorf("%s has no field %q of that form", kind, sub.name)
		}
		out = append(out, pair{sub.alias, value})
	}
	return out, nil
}

// check is pick without an object.
func (f field) check(kind string, names ...string) error {
	any := make(map[string]any, len(names))
	for _, name := range names {
		any[name] = nil
	}
	_, err := f.pick(kind, any)
	return err
}

func (f field) text(variables map[string]json.RawMessage) (string, error) {
	if !f.given {
		return "", errors.New(`addNote needs text: "…"`)
	}
	if !f.variable {
		return f.argument, nil
	}
	var text string
	if err := json.Unmarshal(variables[f.argument], &text); err != nil {
		return "", fmt.Errorf("the variable $%s is no string", f.argument)
	}
	return text, nil
}

// reader reads a query token by token.
type reader struct {
	scanner.Scanner
	token  rune
	err    error
	fields int
}

func parseQuery(query string) (operation, error) {
	if len(query) > maxQuery || !utf8.ValidString(query) {
		return operation{}, fmt.Errorf("a query has at most %d bytes of UTF-8", maxQuery)
	}
	p := &reader{}
	p.Init(strings.NewReader(query))
	p.Mode = scanner.ScanIdents | scanner.ScanStrings
	p.Error = func(_ *scanner.Scanner, message string) { p.fail("%s", message) }
	p.next()
	op := operation{}
	if p.token == scanner.Ident {
		switch p.TokenText() {
		case "query":
		case "mutation":
			op.mutation = true
		default:
			p.fail("%q is not supported: query and mutation are", p.TokenText())
		}
		p.next()
		if p.token == scanner.Ident { // its name
			p.next()
		}
		p.skipVariables()
	}
	op.fields = p.selection(0)
	if p.err == nil && p.token != scanner.EOF {
		p.fail("one operation at a time: unexpected %q", p.TokenText())
	}
	return op, p.err
}

// next reads a token. Commas and comments are white space.
func (p *reader) next() {
	for p.token = p.Scan(); p.token == ',' || p.token == '#'; p.token = p.Scan() {
		for p.token == '#' && p.Peek() != '\n' && p.Peek() != scanner.EOF {
			p.Next()
		}
	}
}

func (p *reader) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("line %d: %w", max(p.Position.Line, 1), fmt.Errorf(format, args...))
	}
	p.token = scanner.EOF
}

func (p *reader) want(token rune) {
	if p.token != token {
		p.fail("expected %s, found %q", scanner.TokenString(token), p.TokenText())
		return
	}
	p.next()
}

func (p *reader) ident() string {
	name := p.TokenText()
	p.want(scanner.Ident)
	return name
}

// skipVariables reads ($name: Type!, …). The types are not looked at: the one use of a variable checks it.
func (p *reader) skipVariables() {
	if p.token != '(' {
		return
	}
	for p.next(); p.err == nil && p.token != ')'; {
		p.want('$')
		p.ident()
		p.want(':')
		p.ident()
		if p.token == '!' {
			p.next()
		}
	}
	p.want(')')
}

func (p *reader) selection(depth int) []field {
	if depth > 3 {
		p.fail("too deep")
	}
	p.want('{')
	var list []field
	for p.err == nil && p.token != '}' {
		if p.fields++; p.fields > maxFields {
			p.fail("more than %d fields", maxFields)
			break
		}
		list = append(list, p.field(depth))
	}
	if p.err == nil && len(list) == 0 {
		p.fail("an empty selection")
	}
	p.want('}')
	return list
}

func (p *reader) field(depth int) field {
	f := field{name: p.ident()}
	f.alias = f.name
	if p.token == ':' {
		p.next()
		f.name = p.ident()
	}
	if p.token == '(' {
		p.next()
		if name := p.ident(); p.err == nil && name != "text" {
			p.fail("there is no argument %q", name)
		}
		p.want(':')
		f.given = true
		switch p.token {
		case '$':
			p.next()
			f.variable, f.argument = true, p.ident()
		default:
			literal := p.TokenText()
			p.want(scanner.String)
			if p.err == nil {
				text, err := strconv.Unquote(literal)
				if err != nil {
					p.fail("a bad string")
				}
				f.argument = text
			}
		}
		p.want(')')
	}
	if p.token == '{' {
		f.fields = p.selection(depth + 1)
	}
	return f
}

// ordered is a JSON object that keeps its order, as GraphQL wants it.
type ordered []pair

type pair struct {
	name  string
	value any
}

// MarshalJSON writes the pairs as an object. Of two with one name the first counts.
func (o ordered) MarshalJSON() ([]byte, error) {
	out, seen := []byte{'{'}, make(map[string]bool, len(o))
	for _, p := range o {
		if seen[p.name] {
			continue
		}
		if len(seen) > 0 {
			out = append(out, ',')
		}
		seen[p.name] = true
		value, err := json.Marshal(p.value)
		if err != nil {
			return nil, err
		}
		out = append(append(strconv.AppendQuote(out, p.name), ':'), value...)
	}
	return append(out, '}'), nil
}
