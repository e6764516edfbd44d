// Command cloakroom is a gateway that keeps OAuth tokens out of browsers.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/session"
)

// The exit statuses.
const (
	exitFailed      = 1
	exitWrongConfig = 2
)

// ballast is never touched, so it takes address space and no memory. Without it a small heap is collected for every 4 MB that
// requests allocate; beside it, for every 32 MB.
var ballast = make([]byte, 32<<20)

func main() {
	code := run()
	runtime.KeepAlive(ballast)
	os.Exit(code)
}

func run() int {
	time.Local = time.UTC // logs are read beside those of other machines
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends the process at once
	return report(os.Stderr, program().ExecuteContext(ctx))
}

func program() *cobra.Command {
	c := group(&cobra.Command{
		Use:           "cloakroom",
		Short:         "A gateway that keeps OAuth tokens out of browsers",
		SilenceErrors: true,
		SilenceUsage:  true,
	}, serveCommand(), demoCommand(), initCommand(), checkCommand(), keysCommand(), usersCommand(), sessionsCommand(), versionCommand())
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return hinted{err, c.CommandPath() + " --help"} })
	return c
}

// group makes c the name of other commands. Left alone cobra takes a misspelt one for a request for help, and succeeds.
func group(c *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		hint := c.CommandPath() + " --help"
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean: " + c.CommandPath() + " " + near[0]
		}
		return hinted{fmt.Errorf("%s has no command %q", c.CommandPath(), args[0]), hint}
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	c.SuggestionsMinimumDistance = 2
	for _, one := range commands {
		tellUsage(one)
	}
	c.AddCommand(commands...)
	return c
}

// tellUsage has c say how it is used to whoever gives it too many arguments or too few.
func tellUsage(c *cobra.Command) {
	count := c.Args
	c.Args = func(c *cobra.Command, args []string) error {
		err := count(c, args)
		if err == nil || hintOf(err) != "" {
			return err
		}
		return hinted{err, c.UseLine()}
	}
}

// exclusive lets one of these flags be given at most.
func exclusive(c *cobra.Command, names ...string) {
	before := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		given := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !c.Flags().Changed(name) })
		if len(given) > 1 {
			return hinted{fmt.Errorf("--%s and --%s do not go together", given[0], given[1]), c.CommandPath() + " --help"}
		}
		if before != nil {
			return before(c, args)
		}
		return nil
	}
}

// configFlag adds --config.
func configFlag(c *cobra.Command, path *string) {
	c.Flags().StringVarP(path, "config", "c", "cloakroom.yaml", "configuration file")
}

// errSilent is a failure that was told already.
var errSilent = errors.New("failed")

// report tells an error and returns the exit status.
func report(w io.Writer, err error) int {
	var wrong config.Problems
	var refused configError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errSilent):
		return exitFailed
	case errors.As(err, &wrong):
		fmt.Fprintln(w, wrong.Error())
		return exitWrongConfig
	}
	fmt.Fprintf(w, "cloakroom: %v\n", err)
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(w, "hint: %s\n", hint)
	}
	if errors.As(err, &refused) {
		return exitWrongConfig
	}
	return exitFailed
}

// configError is a mistake in the configuration that has no line of its own.
type configError struct{ error }

func (e configError) Unwrap() error { return e.error }

// hinted is an error with what an operator can do about it.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }

func hintOf(err error) string {
	var h hinted
	if errors.As(err, &h) {
		return h.hint
	}
	return session.HintOf(err)
}

// load reads the configuration. A file that cannot be read is a wrong configuration, too.
func load(path string) (*config.Config, error) {
	c, err := config.Load(path)
	var wrong config.Problems
	switch {
	case err == nil || errors.As(err, &wrong):
		return c, err
	case errors.Is(err, os.ErrNotExist):
		err = hinted{err, "cloakroom init writes one; --config names another"}
	}
	return nil, configError{err}
}
