package config

import (
	"fmt"
	"strings"
)

//go:generate go test -run TestReference -update

const introduction = `# The configuration

One YAML file. The smallest useful one is ` + "`url`, `keys`, one provider or `accounts`, and its routes" + `; everything else has a safe default.

- A wrong file is answered with all of its mistakes, each with file, line and column, and exit status 2. ` + "`cloakroom check`" + ` says the same
  and then looks at the provider, the store and the upstreams.
- ` + "`${NAME}`" + ` in any value is replaced by an environment variable, which must be there. ` + "`$${`" + ` stands for the characters themselves. Inside
  ` + "`[ ]` and `{ }`" + ` YAML wants quotes around it.
- A secret is best kept out of the file: ` + "`{file: PATH}`" + ` reads it from a file of at most 64 KiB, without the line end behind it.
- A variable with the name of an option goes before the file: ` + "`CLOAKROOM_SESSION__IDLE=10m`, `CLOAKROOM_ROUTES__0__UPSTREAM=…`" + `. Lists and
  names with values are written as YAML: ` + "`CLOAKROOM_SESSION__CLAIMS='[sub, email]'`" + `. A variable that begins with ` + "`CLOAKROOM_`" + ` and is none of
  these is a mistake.
- Paths are relative to the folder of the file.
- Durations: ` + "`90s`, `30m`, `12h`, `7d`. Sizes: `65536`, `512KiB`, `32MiB`, `1GiB`" + `.
- Anchors, aliases and tags of YAML are not used.

This page is made from the declarations in ` + "`config/options.go` and `config/accounts.go`" + `.
`

// Reference returns the page that lists every option, in Markdown.
func Reference() string {
	var entries []entry
	r := &reading{docs: &entries, env: newEnvironment(nil)}
	options(&form{reading: r}, &Config{})

	var b strings.Builder
	b.WriteString(introduction)
	section := ""
	for i, e := range entries {
		if s := sectionOf(e.key); i == 0 || s != section {
			section = s
			fmt.Fprintf(&b, "\n## %s\n\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n", heading(section))
		}
		standard := "–"
		if e.standard != "" {
			standard = "`" + e.standard + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", e.key, e.form, standard, e.meaning)
	}
	return b.String()
}

// sectionOf returns the group that an option is shown in.
func sectionOf(key string) string {
	group, _, found := strings.Cut(key, ".")
	switch {
	case !found && (group == "providers" || group == "routes"):
		return group
	case !found:
		return ""
	}
	return strings.TrimSuffix(group, "[]")
}

func heading(section string) string {
	if section == "" {
		return "The gateway"
	}
	return "`" + section + "`"
}
