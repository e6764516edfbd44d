package accounts

import (
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/session"
)

func TestKeyOf(t *testing.T) {
	long := strings.Repeat("a", 64) + "@" + strings.Repeat(strings.Repeat("b", 47)+".", 3) + strings.Repeat("c", 33) + ".example.com"
	for _, v := range []struct{ name, login, typed, want string }{
		{"Plain", LoginEmail, "ada@example.com", "ada@example.com"},
		{"UpperCase", LoginEmail, "ADA@Example.COM", "ada@example.com"},
		{"Tag", LoginEmail, "ada+news@example.com", "ada+news@example.com"},
		{"InternationalDomain", LoginEmail, "ada@BÜCHER.example", "ada@xn--bcher-kva.example"},
		{"LookAlikeDomainIsAnother", LoginEmail, "ada@ex\u0430mple.com", "ada@xn--exmple-4nf.com"},
		{"LookAlikeLocalPart", LoginEmail, "\u0430da@example.com", ""},
		{"FullWidth", LoginEmail, "\uff41da@example.com", ""},
		{"CombiningCharacter", LoginEmail, "a\u0301da@example.com", ""},
		{"254Bytes", LoginEmail, long, long},
		{"255Bytes", LoginEmail, strings.Replace(long, ".c", ".cc", 1), ""},
		{"320Characters", LoginEmail, strings.Repeat("a", 64) + "@" + strings.Repeat("b", 251) + ".com", ""},
		{"LongLocalPart", LoginEmail, strings.Repeat("a", 65) + "@example.com", ""},
		{"NoAt", LoginEmail, "ada", ""},
		{"NothingBefore", LoginEmail, "@example.com", ""},
		{"NothingBehind", LoginEmail, "ada@", ""},
		{"NoDot", LoginEmail, "ada@localhost", ""},
		{"DotAtTheEnd", LoginEmail, "ada@example.com.", ""},
		{"TwoDots", LoginEmail, "a..da@example.com", ""},
		{"Space", LoginEmail, "ada lovelace@example.com", ""},
		{"Quoted", LoginEmail, `"ada"@example.com`, ""},
		{"TwoAts", LoginEmail, "ada@evil@example.com", ""},
		{"NUL", LoginEmail, "ada\x00@example.com", ""},
		{"NewLine", LoginEmail, "ada@example.com\r\nBcc: x", ""},
		{"Empty", LoginEmail, "", ""},

		{"Name", LoginUsername, "Ada", "ada"},
		{"NameWithMarks", LoginUsername, "a.d-a_1", "a.d-a_1"},
		{"FullWidthName", LoginUsername, "\uff21\uff44\uff41", "ada"},
		{"Composed", LoginUsername, "Zoe\u0308", "zo\u00eb"},
		{"Cyrillic", LoginUsername, "\u0410\u043d\u043d\u0430", "\u0430\u043d\u043d\u0430"},
		{"TwoAlphabets", LoginUsername, "p\u0430ypal", ""},
		{"OneCharacter", LoginUsername, "a", ""},
		{"64Characters", LoginUsername, strings.Repeat("é", 64), strings.Repeat("é", 64)},
		{"65Characters", LoginUsername, strings.Repeat("a", 65), ""},
		{"EmailAsName", LoginUsername, "ada@example.com", ""},
		{"SpaceInName", LoginUsername, "ada l", ""},
		{"Emoji", LoginUsername, "ada😀", ""},
		{"RightToLeftOverride", LoginUsername, "ada\u202e", ""},
		{"ZeroWidth", LoginUsername, "a\u200bda", ""},
		{"NULInName", LoginUsername, "ad\x00a", ""},
		{"NotUTF8", LoginUsername, "ad\xffa", ""},
	} {
		t.Run(v.name, func(t *testing.T) {
			got, err := keyOf(v.login, v.typed)
			if v.want == "" {
				wantCode(t, err, session.BadIdentifier)
				return
			}
			if err != nil || got != v.want {
				t.Errorf("%q is %q, %v; want %q", v.typed, got, err, v.want)
			}
		})
	}
}
