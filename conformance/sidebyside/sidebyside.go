// Package sidebyside is for packages of which the parallel tests mostly wait: for a token to be over, a connection to end, a child to answer.
package sidebyside

import (
	"flag"
	"runtime"
	"strconv"
	"testing"
)

// Run runs the tests of a package, eight at once for each core, or as many as -parallel says, and returns the status to exit with.
func Run(m *testing.M) int {
	flag.Parse()
	const name = "test.parallel"
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == name })
	if !said {
		if err := flag.Set(name, strconv.Itoa(8*runtime.GOMAXPROCS(0))); err != nil {
			panic(err)
		}
	}
	return m.Run()
}
