package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/term"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/internal/logging"
)

// app is what the commands share: where they write and the flags they all have.
type app struct {
	stdout, stderr io.Writer
	env            func(string) (string, bool)
	started        bool // a command's own code has begun; errors before are usage errors

	json   bool
	output string
	config string
	// configNamed says that -c was given: then the file must be there.
	configNamed bool
	server      string
	logLevel    string
	logFormat   string
	log         *zap.Logger
}

func newApp(stdout, stderr io.Writer, env func(string) (string, bool)) *app {
	return &app{stdout: stdout, stderr: stderr, env: env, log: zap.NewNop()}
}

func rootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "tandem",
		Short: "Keep records in step between applications and a database",
		Long: `Tandem reads records from applications and keeps the rows of a database in step
with them. One binary is the service, its workers and these commands; without a
service running, commands work in the foreground.`,
		Example:       "  tandem demo                 # see it work, nothing to set up\n  tandem init rest            # a commented tandem.yaml\n  tandem sync crm             # synchronize a channel now",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.setUp(cmd); err != nil {
				return err
			}
			a.started = true
			return nil
		},
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	f := root.PersistentFlags()
	f.StringVarP(&a.config, "config", "c", config.DefaultPath, "configuration file")
	f.StringVarP(&a.output, "output", "o", "text", "form of the result: text or json")
	f.StringVar(&a.server, "server", "", "address of the service, such as http://127.0.0.1:8080")
	f.StringVar(&a.logLevel, "log-level", "", "least level to log on standard error: debug, info, warn or error")
	f.StringVar(&a.logFormat, "log-format", "", "form of log lines: text or json")
	root.AddCommand(
		runCommand(a), demoCommand(a), initCommand(a), validateCommand(a), migrateCommand(a), applyCommand(a),
		syncCommand(a), reverseSyncCommand(a), runsCommand(a), recordsCommand(a), conflictsCommand(a), channelsCommand(a), typesCommand(a), parkedCommand(a), doctorCommand(a), versionCommand(a),
		emulateCommand(a), planCommand(a), exportCommand(a), keysCommand(a), judgeCommand(a), captureCommand(a),
	)
	root.InitDefaultCompletionCmd("completion")
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Example = "  source <(tandem completion bash)"
		}
	}
	return root
}

// setUp checks the shared flags and makes the logger.
func (a *app) setUp(cmd *cobra.Command) error {
	switch a.output {
	case "text", "json":
		a.json = a.output == "json"
	default:
		return fmt.Errorf("output %q: want text or json", a.output)
	}
	a.configNamed = cmd.Flags().Changed("config")
	// The service logs what happens; a command only what goes wrong, unless asked.
	level, format := "warn", logging.Text
	if cmd.Name() == "run" {
		level = "info"
		if !isTerminal(a.stderr) {
			format = logging.JSON
		}
	}
	if a.logLevel != "" {
		level = a.logLevel
	}
	format, err := logging.ParseFormat(a.logFormat, format)
	if err != nil {
		return err
	}
	a.log, err = logging.New(a.stderr, format, level)
	return err
}

// group makes a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short,
		Example: subs[0].Example,
		RunE: func(cmd *cobra.Command, args []string) error {
			names := make([]string, len(subs))
			for i, s := range subs {
				names[i] = s.Name()
			}
			if len(args) > 0 {
				return usagef("unknown command %q for %q; want one of %s", args[0], cmd.CommandPath(), strings.Join(names, ", "))
			}
			return usagef("%q needs one of %s", cmd.CommandPath(), strings.Join(names, ", "))
		},
	}
	cmd.AddCommand(subs...)
	return cmd
}

// wantsJSON looks for -o json before the flags are parsed, so that an error in
// the flags themselves is already JSON.
func wantsJSON(args []string) bool {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	for i, s := range args {
		switch s {
		case "-ojson", "-o=json", "--output=json":
			return true
		case "-o", "--output":
			if i+1 < len(args) && args[i+1] == "json" {
				return true
			}
		}
	}
	return false
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) //nolint:gosec // a file descriptor fits
}

// run adapts a command's function: it gets the context and the arguments.
func run(fn func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error { return fn(cmd.Context(), args) }
}
