package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/internal/demo/lab"
	"github.com/cloakroom-go/cloakroom/internal/files"
)

const choosing = "docs/choosing.md"

// sections are the parts of a page below its headings of the second level, by heading.
func sections(t *testing.T, page string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	for _, part := range strings.Split("\n"+string(text), "\n## ")[1:] {
		name, body, _ := strings.Cut(part, "\n")
		parts[name] = body
	}
	return parts
}

// What people ask who come here has an answer each, and a short one.
func TestChoosing_AnswersThirtyQuestions(t *testing.T) {
	asked := map[string]bool{}
	for paragraph := range strings.SplitSeq(sections(t, choosing)["Thirty questions"], "\n\n") {
		paragraph = strings.TrimSpace(paragraph)
		if paragraph == "" || strings.HasPrefix(paragraph, "### ") {
			continue
		}
		question, answer, ok := strings.Cut(strings.TrimPrefix(paragraph, "**"), "**\n")
		if !ok || !strings.HasPrefix(paragraph, "**") {
			t.Errorf("neither a heading nor a question with its answer: %s", paragraph)
			continue
		}
		if asked[question] {
			t.Errorf("asked twice: %s", question)
		}
		asked[question] = true
		if words := len(strings.Fields(answer)); words < 10 || words > 60 {
			t.Errorf("%s: the answer has %d words; it should be of 10 to 60", question, words)
		}
	}
	if len(asked) != 30 {
		t.Errorf("%d questions are answered, not 30", len(asked))
	}
}

var choice = regexp.MustCompile("(?m)^\\| `(session\\.storage|tokens\\.delivery)` \\| ([^|]+) \\|")

// Every value of the two keys is in both tables, so that a new one is not forgotten there.
func TestChoosing_CoversEveryPair(t *testing.T) {
	reference, err := os.ReadFile(filepath.Join(root, "docs/config.md"))
	if err != nil {
		t.Fatal(err)
	}
	parts, seen := sections(t, choosing), 0
	for _, m := range choice.FindAllStringSubmatch(string(reference), -1) {
		for value := range strings.SplitSeq(m[2], " or ") {
			seen++
			for _, name := range []string{"Which pair", "What the IETF says of each"} {
				cell := regexp.MustCompile(`(?m)^\|.*` + regexp.QuoteMeta(value) + `.*\|$`)
				if !cell.MatchString(parts[name]) {
					t.Errorf("%q has no row with %s %s", name, m[1], value)
				}
			}
		}
	}
	if seen != 6 {
		t.Errorf("%d values of the two keys were found in docs/config.md, this test knows of six", seen)
	}
}

// The policy that the page explains is the one that routes have.
func TestChoosing_ShowsTheStarterPolicy(t *testing.T) {
	shown := fences(t, choosing, "text")
	if len(shown) != 1 || shown[0].text != files.StarterCSP+"\n" {
		t.Errorf("docs/choosing.md shows %+v, routes have %s", shown, files.StarterCSP)
	}
	stricter := 0
	for _, f := range fences(t, choosing, "yaml") {
		if strings.Contains(f.text, "csp: ") {
			stricter++
			if !strings.Contains(f.text, `csp: "`+files.StarterCSP+`; require-trusted-types-for 'script'"`) {
				t.Errorf("docs/choosing.md:%d: not the starter policy and trusted types", f.line)
			}
		}
	}
	if stricter != 1 {
		t.Errorf("%d policies with trusted types are shown, not one", stricter)
	}
}

const (
	measuredHead = "<!-- made from internal/demo/lab -->\n"
	measuredFoot = "<!-- end -->\n"
)

// TestPages_ChoosingShowsWhatTheLaboratoryMeasured keeps the short table equal to the laboratory's. -update writes it.
func TestPages_ChoosingShowsWhatTheLaboratoryMeasured(t *testing.T) {
	path := filepath.Join(root, choosing)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(text), measuredHead)
	table, after, ok2 := strings.Cut(rest, measuredFoot)
	if !ok1 || !ok2 {
		t.Fatal("docs/choosing.md has no place for the table")
	}
	want := "\n" + measuredTable(t) + "\n"
	if *update {
		if err := os.WriteFile(path, []byte(before+measuredHead+want+measuredFoot+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if table != want {
		t.Errorf("docs/choosing.md does not show what the laboratory measured: go test ./internal/docs -update\n%s", want)
	}
}

// measuredTable has a row for each attack, a column for what people do elsewhere, and one for each delivery. A delivery's cell holds
// for both storages, or says what each came to.
func measuredTable(t *testing.T) string {
	t.Helper()
	deliveries := []string{"proxy", "cookie", "split", "memory"}
	var b strings.Builder
	b.WriteString("| attack | `localStorage` | `" + strings.Join(deliveries, "` | `") + "` |\n|" + strings.Repeat(" --- |", 2+len(deliveries)) + "\n")
	if len(lab.Attacks) == 0 {
		t.Fatal("the laboratory has no attacks")
	}
	group := ""
	for _, a := range lab.Attacks {
		if a.Group != group {
			group = a.Group
			b.WriteString("| **" + group + "**" + strings.Repeat(" |", 2+len(deliveries)) + "\n")
		}
		outcome := func(column string) string {
			end, ok := a.Ends[lab.Expected[column][a.ID]]
			if !ok {
				t.Fatalf("%s was not measured in %s", a.ID, column)
			}
			return map[lab.Outcome]string{lab.Blocked: "blocked", lab.Partly: "partly", lab.Succeeds: "**succeeds**"}[end.Is]
		}
		cells := []string{a.Title, outcome("local-storage")}
		for _, d := range deliveries {
			store, sealed := outcome("store-"+d), outcome("sealed-"+d)
			if store != sealed {
				store = "`store` " + store + ", `sealed` " + sealed
			}
			cells = append(cells, store)
		}
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	return b.String()
}
