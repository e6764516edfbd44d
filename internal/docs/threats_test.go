package docs

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/internal/demo/lab"
)

var signs = map[lab.Outcome]string{lab.Blocked: "✅", lab.Partly: "🟠", lab.Succeeds: "❌"}

// ending is how an attack ends in a column, as it was measured and committed.
func ending(t *testing.T, a lab.Attack, c lab.Column) lab.Ending {
	t.Helper()
	name := lab.Expected[c.ID][a.ID]
	e, ok := a.Ends[name]
	if !ok {
		t.Fatalf("%s in %s: %q is no ending of it. E2E_UPDATE=1 npm test -- lab, in e2e/, measures anew", a.ID, c.ID, name)
	}
	return e
}

// threatsPage is the laboratory's table as it was measured, and what there is to say of each row.
func threatsPage(t *testing.T) string {
	var b strings.Builder
	b.WriteString(threatsIntroduction)
	line := func(first string, cell func(lab.Column) string) {
		b.WriteString("| " + first + " |")
		for _, c := range lab.Columns {
			b.WriteString(" " + cell(c) + " |")
		}
		b.WriteString("\n")
	}
	line("attack", func(c lab.Column) string {
		if c.Baseline() {
			return c.Title
		}
		return c.Storage + " " + c.Delivery
	})
	line("---", func(lab.Column) string { return ":-:" })
	group := ""
	for _, a := range lab.Attacks {
		if a.Group != group {
			group = a.Group
			line("**"+group+"**", func(lab.Column) string { return "" })
		}
		line("["+a.Title+"](#"+anchor(a.Title)+")", func(c lab.Column) string { return signs[ending(t, a, c).Is] })
	}
	group = ""
	for _, a := range lab.Attacks {
		if a.Group != group {
			group = a.Group
			fmt.Fprintf(&b, "\n## %s\n", group)
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", a.Title, a.Does)
		for _, e := range endings(t, a) {
			fmt.Fprintf(&b, "- %s **%s**: %s. %s\n", signs[e.ending.Is], e.ending.Is, strings.Join(e.columns, ", "), e.ending.Why)
		}
		fmt.Fprintf(&b, "\nWhat helps: %s\n", a.Helps)
	}
	return b.String()
}

type columnsOf struct {
	ending  lab.Ending
	columns []string
}

// endings are the endings of an attack that came about, with their columns: the worst first.
func endings(t *testing.T, a lab.Attack) (list []columnsOf) {
	for _, c := range lab.Columns {
		e := ending(t, a, c)
		at := slices.IndexFunc(list, func(o columnsOf) bool { return o.ending == e })
		if at < 0 {
			at = len(list)
			list = append(list, columnsOf{ending: e})
		}
		list[at].columns = append(list[at].columns, c.Title)
	}
	worst := []lab.Outcome{lab.Succeeds, lab.Partly, lab.Blocked}
	slices.SortStableFunc(list, func(a, b columnsOf) int {
		return slices.Index(worst, a.ending.Is) - slices.Index(worst, b.ending.Is)
	})
	for i := range list {
		list[i].columns = shortened(list[i].columns)
	}
	return list
}

// shortened says "store, all deliveries" where it can.
func shortened(columns []string) []string {
	deliveries := []string{"proxy", "cookie", "split", "memory"}
	both := []string{}
	for _, storage := range []string{"store", "sealed"} {
		whole := true
		for _, d := range deliveries {
			whole = whole && slices.Contains(columns, storage+" + "+d)
		}
		if whole {
			columns = slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return strings.HasPrefix(c, storage+" + ") })
			both = append(both, storage)
		}
	}
	if len(both) == 2 {
		return append(columns, "all eight pairs")
	}
	for _, storage := range both {
		columns = append(columns, "`"+storage+"` with every delivery")
	}
	for _, d := range deliveries {
		if slices.Contains(columns, "store + "+d) && slices.Contains(columns, "sealed + "+d) {
			columns = slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return strings.HasSuffix(c, " + "+d) })
			columns = append(columns, "`"+d+"` with either storage")
		}
	}
	return columns
}

// anchor is what a heading is called in a link to it.
func anchor(title string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(title) {
		switch {
		case c == ' ':
			b.WriteByte('-')
		case c == '-' || c == '_' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
			b.WriteRune(c)
		}
	}
	return b.String()
}

// Every cell is committed, and nothing else is.
func TestThreats_EveryCellIsMeasured(t *testing.T) {
	if len(lab.Attacks) < 8 || len(lab.Columns) != 11 || len(lab.Expected) != 11 {
		t.Fatalf("%d attacks, %d columns, %d of them measured", len(lab.Attacks), len(lab.Columns), len(lab.Expected))
	}
	for _, c := range lab.Columns {
		for _, a := range lab.Attacks {
			ending(t, a, c)
		}
		if len(lab.Expected[c.ID]) != len(lab.Attacks) {
			t.Errorf("%s: %d cells are committed for %d attacks", c.ID, len(lab.Expected[c.ID]), len(lab.Attacks))
		}
	}
}
