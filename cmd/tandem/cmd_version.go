package main

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is the version a release build sets with -ldflags "-X main.release=v1.2.3".
var release string //nolint:gochecknoglobals // the linker needs a variable

// version is the release, else the module's version, else "dev".
func version() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

func revision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return ""
}

func versionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Example: "  tandem version -o json",
		RunE: run(func(context.Context, []string) error {
			if a.json {
				return a.printJSON(struct {
					Version  string `json:"version"`
					Revision string `json:"revision"`
					Go       string `json:"go"`
					Platform string `json:"platform"`
				}{version(), revision(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH})
			}
			return a.println("tandem", version(), runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
		}),
	}
}
