package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	browser "github.com/cloakroom-go/cloakroom/internal/origin"
)

// reading is what one reading of a file comes to.
type reading struct {
	file     string
	lines    []string
	shown    []string // lines, secrets masked; made when first needed
	env      environment
	problems Problems
	warnings []string
	inline   bool     // a secret stands in the file itself
	private  []string // files that secrets were read from
	docs     *[]entry // set while the reference is written; there is no file then
}

func (r *reading) wrong(at place, format string, args ...any) {
	if len(r.problems) >= mostProblems {
		return
	}
	p := Problem{File: r.file, Line: at.line, Column: at.column, Text: redact(fmt.Sprintf(format, args...))}
	if at.env != "" {
		p.File, p.Line, p.Column = "environment", 0, 0
		p.Text = at.env + ": " + p.Text
	} else {
		p.Source, p.caret = r.source(at)
	}
	r.problems = append(r.problems, p)
}

// entry is one option in the reference.
type entry struct{ key, form, standard, meaning string }

// form reads the options that stand under one place of the file. Each method reads one of them: it puts the default into the
// target, or the value of the file, or that of the environment, and says what is wrong with it.
type form struct {
	*reading
	path  string // of the place, with a dot behind it: "providers.main."; "" for the file itself
	title string // the same for the reference: "providers.NAME."
	at    place
	pairs []pair
	keys  []string // that were asked for, relative to path
}

// text reads one value as it is.
func (f *form) text(into *string, key, standard, meaning string, rules ...rule) {
	*into = standard
	f.scalar(entry{key, "text", standard, meaning}, func(v value) error {
		for _, r := range rules {
			if err := r(v); err != nil {
				return err
			}
		}
		*into = v.text
		return nil
	})
}

// word reads one of a few words.
func (f *form) word(into *string, key, standard string, words []string, meaning string) {
	*into = standard
	f.scalar(entry{key, "`" + strings.Join(words, "` or `") + "`", standard, meaning}, func(v value) error {
		if slices.Contains(words, v.text) {
			*into = v.text
			return nil
		}
		if slices.Contains(notBuilt[key], v.text) {
			return fmt.Errorf("%s is not built yet; there is %s", v.text, strings.Join(words, " and "))
		}
		if why := unsafe[key+": "+v.text]; why != "" {
			return errors.New(why)
		}
		return fmt.Errorf("%s is none of %s%s", quote(v), strings.Join(words, ", "), didYouMean(v.text, words))
	})
}

func (f *form) flag(into *bool, key string, standard bool, meaning string) {
	*into = standard
	f.scalar(entry{key, "`true` or `false`", strconv.FormatBool(standard), meaning}, func(v value) error {
		switch strings.ToLower(v.text) {
		case "true", "on", "yes":
			*into = true
		case "false", "off", "no":
			*into = false
		default:
			return fmt.Errorf("%s is neither true nor false", quote(v))
		}
		return nil
	})
}

func (f *form) count(into *int, key string, standard, least int, meaning string) {
	*into = standard
	f.scalar(entry{key, "number", strconv.Itoa(standard), meaning}, func(v value) error {
		n, err := strconv.Atoi(v.text)
		if err != nil || n < least || n > 1e9 {
			return fmt.Errorf("%s is not a number from %d on", quote(v), least)
		}
		*into = n
		return nil
	})
}

// duration reads 90s, 30m, 12h, 1h30m and 7d. It is between least and most.
func (f *form) duration(into *time.Duration, key string, standard, least, most time.Duration, meaning string) {
	*into = standard
	f.scalar(entry{key, "duration", short(standard), meaning}, func(v value) error {
		d, err := parseDuration(v.text)
		switch {
		case err != nil:
			return fmt.Errorf("%s is not a duration; write it like 90s, 30m, 12h or 7d", quote(v))
		case d < least:
			return fmt.Errorf("%s is too short; it is at least %s", quote(v), short(least))
		case d > most:
			return fmt.Errorf("%s is too long; it is at most %s", quote(v), short(most))
		}
		*into = d
		return nil
	})
}

func parseDuration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}

// short writes 30m where the library writes 30m0s.
func short(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// size reads bytes: 65536, 512KiB, 32MiB, 1GiB, or off for no limit, which is -1.
func (f *form) size(into *int64, key string, standard int64, meaning string) {
	*into = standard
	f.scalar(entry{key, "size", fmt.Sprintf("%dMiB", standard>>20), meaning}, func(v value) error {
		if v.text == "off" {
			*into = -1
			return nil
		}
		number, shift := v.text, 0
		for unit, s := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30} {
			if n, ok := strings.CutSuffix(v.text, unit); ok {
				number, shift = strings.TrimSpace(n), s
			}
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 1 || n > 1<<40>>shift {
			return fmt.Errorf("%s is not a size; write it like 65536, 512KiB, 32MiB, 1GiB, or off for no limit", quote(v))
		}
		*into = n << shift
		return nil
	})
}

// words reads a list of texts. An empty one is refused: it is never clear what it means.
func (f *form) words(into *[]string, key string, standard []string, meaning string, rules ...rule) {
	*into = standard
	show := ""
	if len(standard) > 0 {
		show = "[" + strings.Join(standard, ", ") + "]"
	}
	if v, ok := f.option(entry{key, "list", show, meaning}, true); ok {
		if words, ok := f.list(key, v, rules...); ok {
			*into = words
		}
	}
}

// oneOrMore reads a list that mostly has one text, which may then stand by itself.
func (f *form) oneOrMore(into *[]string, key, meaning string, rules ...rule) {
	v, ok := f.option(entry{key, "text or list", "", meaning}, true)
	if !ok {
		return
	}
	if v.kind == scalar && !v.bad {
		v = value{kind: list, at: v.at, items: []value{v}}
	}
	if words, ok := f.list(key, v, rules...); ok {
		*into = words
	}
}

func (f *form) list(key string, v value, rules ...rule) ([]string, bool) {
	switch {
	case v.kind == scalar && v.bad:
		return nil, false
	case v.kind == scalar:
		f.wrong(v.at, "%s%s: a list is wanted; write [%s]", f.path, key, quote(v))
		return nil, false
	case v.kind == mapping:
		f.wrong(v.at, "%s%s: a list is wanted, not keys with values", f.path, key)
		return nil, false
	case len(v.items) == 0:
		f.wrong(v.at, "%s%s: the list is empty; name at least one, or leave the key out", f.path, key)
		return nil, false
	}
	words, good := make([]string, 0, len(v.items)), true
	for _, item := range v.items {
		err := f.one(item)
		for _, r := range rules {
			if err == nil && !item.bad {
				err = r(item)
			}
		}
		if err == nil && slices.Contains(words, item.text) && !item.bad {
			err = fmt.Errorf("%s is there twice", quote(item))
		}
		if err != nil {
			f.wrong(item.at, "%s%s: %s", f.path, key, err)
		}
		good = good && err == nil && !item.bad
		words = append(words, item.text)
	}
	return words, good
}

// one says what is wrong with v as a single value.
func (f *form) one(v value) error {
	switch {
	case v.kind == nothing, v.kind == scalar && v.text == "" && !v.bad:
		return errors.New("there is no value; give it one, or leave the key out")
	case v.kind != scalar:
		return fmt.Errorf("a single value is wanted, not %s", v.kind)
	}
	return nil
}

// table reads names with one value each.
func (f *form) table(into *map[string]string, key, meaning string, check func(name string, v value) error) {
	f.named(key, "names with a value", meaning, func(p pair) {
		err := f.one(p.value)
		if err == nil && !p.value.bad {
			err = check(p.key, p.value)
		}
		if err != nil {
			f.wrong(p.value.at, "%s%s.%s: %s", f.path, key, p.key, err)
			return
		}
		if *into == nil {
			*into = map[string]string{}
		}
		(*into)[p.key] = p.value.text
	})
}

// lists reads names with a list of values each.
func (f *form) lists(into *map[string][]string, key, meaning string) {
	f.named(key, "names with a list", meaning, func(p pair) {
		words, ok := f.list(key+"."+p.key, p.value)
		if !ok {
			return
		}
		if *into == nil {
			*into = map[string][]string{}
		}
		(*into)[p.key] = words
	})
}

func (f *form) named(key, shape, meaning string, each func(pair)) {
	v, ok := f.option(entry{key, shape, "", meaning}, true)
	switch {
	case !ok:
	case v.kind != mapping:
		f.wrong(v.at, "%s%s: names with values are wanted, not %s; write {NAME: VALUE}", f.path, key, v.kind)
	case len(v.pairs) == 0:
		f.wrong(v.at, "%s%s: there is nothing in it; name at least one, or leave the key out", f.path, key)
	default:
		for _, p := range v.pairs {
			each(p)
		}
	}
}

// prefixes reads networks and addresses of proxies.
func (f *form) prefixes(into *[]netip.Prefix, key, meaning string) {
	f.words(new([]string), key, nil, meaning, func(v value) error {
		if v.text == "*" || strings.HasSuffix(v.text, "/0") {
			return fmt.Errorf("%s trusts everyone: any client could claim any address; name the proxies' own networks", quote(v))
		}
		proxies, err := browser.ParseProxies([]string{v.text})
		if err != nil {
			return fmt.Errorf("%s is no network of proxies; write it like 10.0.0.0/8 or 192.0.2.7, and no wider than /8, or /7 in IPv6", quote(v))
		}
		*into = append(*into, proxies...)
		return nil
	})
}

// each reads the groups under key, one for each name.
func (f *form) each(key, name, meaning string, read func(f *form, name string)) {
	v, ok := f.option(entry{key, "names with keys", "", meaning}, true)
	if f.docs != nil {
		read(&form{reading: f.reading, title: f.title + key + "." + name + "."}, name)
		return
	}
	if !ok {
		return
	}
	if v.kind != mapping || len(v.pairs) == 0 {
		f.wrong(v.at, "%s%s: names are wanted, and keys under each; see the reference", f.path, key)
		return
	}
	for _, p := range v.pairs {
		if p.value.kind != mapping {
			f.wrong(p.at, "%s%s.%s: keys with values are wanted under it", f.path, key, p.key)
			continue
		}
		sub := &form{reading: f.reading, path: f.path + key + "." + p.key + ".", at: p.at, pairs: p.value.pairs}
		read(sub, p.key)
		sub.close()
	}
}

// all reads the groups in a list.
func (f *form) all(key, meaning string, read func(f *form)) {
	v, ok := f.option(entry{key, "list of keys with values", "", meaning}, true)
	if f.docs != nil {
		read(&form{reading: f.reading, title: f.title + key + "[]."})
		return
	}
	if !ok {
		return
	}
	switch {
	case v.kind != list:
		f.wrong(v.at, "%s%s: a list is wanted; begin each with a dash", f.path, key)
		return
	case len(v.items) == 0:
		f.wrong(v.at, "%s%s: the list is empty; one is needed at least, on a line that begins with a dash", f.path, key)
		return
	}
	for i, item := range v.items {
		if item.kind != mapping {
			f.wrong(item.at, "%s%s[%d]: keys with values are wanted", f.path, key, i)
			continue
		}
		sub := &form{reading: f.reading, path: fmt.Sprintf("%s%s[%d].", f.path, key, i), at: item.at, pairs: item.pairs}
		read(sub)
		sub.close()
	}
}

// scalar reads a single value.
func (f *form) scalar(e entry, read func(value) error) {
	v, ok := f.option(e, false)
	if !ok {
		return
	}
	err := f.one(v)
	if err == nil && !v.bad {
		err = read(v)
	}
	if err != nil {
		f.wrong(v.at, "%s%s: %s", f.path, e.key, err)
	}
}

// option notes that there is such an option and returns its value, if it has one. A variable goes before the file. If yaml,
// the variable is YAML.
func (f *form) option(e entry, yaml bool) (value, bool) {
	f.keys = append(f.keys, e.key)
	if f.docs != nil {
		e.key = f.title + e.key
		*f.docs = append(*f.docs, e)
		return value{}, false
	}
	if name := variableOf(f.path + e.key); f.env.has(name) {
		at := place{env: name}
		if yaml {
			return f.tree(f.env.vars[name], at)
		}
		return value{kind: scalar, at: at, text: f.env.vars[name], raw: f.env.vars[name]}, true
	}
	p, ok := find(f.pairs, e.key)
	return p.value, ok
}

// find returns what stands under a dotted key.
func find(pairs []pair, key string) (pair, bool) {
	head, rest, dotted := strings.Cut(key, ".")
	for _, p := range pairs {
		switch {
		case p.key != head:
		case !dotted:
			return p, true
		default:
			return find(p.value.pairs, rest)
		}
	}
	return pair{}, false
}

// has reports whether key is given at all, rightly or wrongly.
func (f *form) has(key string) bool {
	_, ok := find(f.pairs, key)
	return ok || f.env.has(variableOf(f.path+key))
}

// any reports whether a key that begins so is given.
func (f *form) any(prefix string) bool {
	return slices.ContainsFunc(f.keys, func(key string) bool { return strings.HasPrefix(key, prefix) && f.has(key) }) ||
		f.has(strings.TrimSuffix(prefix, "."))
}

// where returns the place of key's value, or of the group when it has none.
func (f *form) where(key string) place {
	if name := variableOf(f.path + key); f.env.has(name) {
		return place{env: name}
	}
	if p, ok := find(f.pairs, key); ok {
		return p.value.at
	}
	return f.at
}

// conflict reports that key does not go with something else.
func (f *form) conflict(key, format string, args ...any) {
	f.wrong(f.where(key), "%s%s: %s", f.path, key, fmt.Sprintf(format, args...))
}

// need reports a key that is missing, unless it is only misspelt. It comes after all options were read.
func (f *form) need(key, hint string) {
	misspelt := slices.ContainsFunc(f.pairs, func(p pair) bool {
		return !slices.Contains(f.keys, p.key) && nearest(p.key, f.below("")) == key
	})
	if f.docs == nil && !f.has(key) && !misspelt {
		f.wrong(f.at, "%s%s is missing: %s", f.path, key, hint)
	}
}

// close reports the keys of the file that no option asked for.
func (f *form) close() { f.unknown(f.pairs, "") }

func (f *form) unknown(pairs []pair, prefix string) {
	for _, p := range pairs {
		key := prefix + p.key
		switch {
		case slices.Contains(f.keys, key):
		case slices.ContainsFunc(f.keys, func(k string) bool { return strings.HasPrefix(k, key+".") }):
			switch p.value.kind {
			case mapping:
				f.unknown(p.value.pairs, key+".")
			case scalar, list:
				f.wrong(p.value.at, "%s%s: keys with values are wanted under it, like %s", f.path, key, strings.Join(f.below(key+"."), ", "))
			}
		case notBuiltKeys[f.general(key)]:
			f.wrong(p.at, "%s%s is not built yet", f.path, key)
		default:
			f.wrong(p.at, "unknown key %q%s", p.key, f.suggest(p.key, prefix))
		}
	}
}

// suggest names the key that was probably meant: one of the same group, or the same key where it belongs.
func (f *form) suggest(key, prefix string) string {
	if s := didYouMean(key, f.below(prefix)); s != "" {
		return s
	}
	for _, k := range f.keys {
		if k[strings.LastIndexByte(k, '.')+1:] == key {
			return fmt.Sprintf(" (did you mean %q?)", f.path+k)
		}
	}
	return ""
}

// below returns the keys that may stand in a group.
func (f *form) below(prefix string) []string {
	var keys []string
	for _, k := range f.keys {
		if rest, ok := strings.CutPrefix(k, prefix); ok {
			head, _, _ := strings.Cut(rest, ".")
			if !slices.Contains(keys, head) {
				keys = append(keys, head)
			}
		}
	}
	return keys
}

// general is the key of an option wherever its group stands: routes[].bearer.
func (f *form) general(key string) string {
	if i := strings.IndexByte(f.path, '['); i >= 0 {
		return f.path[:i] + "[]." + key
	}
	return f.path + key
}

// quote shows a value as it is written, never what a variable put in its place.
func quote(v value) string {
	text := v.raw
	if len(text) > 60 {
		text = strings.ToValidUTF8(text[:60], "") + "…"
	}
	return strconv.Quote(text)
}
