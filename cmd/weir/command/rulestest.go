package command

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"

	"weir/cmd/weir/app"
	"weir/configs"
	"weir/configs/strict"
	"weir/rules"
	"weir/rules/ruletest"
)

// testedFile is the outcome of a test file, as --json prints it.
type testedFile struct {
	File   string            `json:"file"`
	Passed bool              `json:"passed"`
	Tests  []ruletest.Result `json:"tests"`
}

func rulesTest(_ context.Context, c *call) error {
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	config := fs.String("c", "", "the config `file` for test files that name none: its sources decode payloads, and its rules are the default")
	only := fs.String("run", "", "run only the tests whose name matches this regular `expression`")
	asJSON := fs.Bool("json", false, "print the results as JSON")
	names, err := c.flags(fs, "Run tests of rules: series and events go in, and the alerts and recordings that come of them are compared with what is expected.", "weir rules test rules/*.test.yaml")
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return &usageError{c.name + ": which files?", "weir rules test rules/*.test.yaml; docs/rule-tests.md says what is in them"}
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return &usageError{fmt.Sprintf("%s: --run: %v", c.name, err), "write a regular expression of Go, e.g. --run 'Freezer|Door'"}
	}
	files, err := loadTests(names, *config)
	if err != nil {
		return err
	}
	out := []testedFile{}
	tests, failures := 0, 0
	for _, f := range files {
		t := testedFile{File: f.Name, Passed: true, Tests: f.Run(pattern.MatchString)}
		for _, r := range t.Tests {
			if tests++; !r.Passed {
				failures++
				t.Passed = false
			}
		}
		out = append(out, t)
		if !*asJSON {
			if err := ruletest.Report(c.stdout, t.File, t.Tests); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
	}
	if *asJSON {
		if err := json.NewEncoder(c.stdout).Encode(map[string]any{"passed": failures == 0, "files": out}); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	if failures > 0 {
		return fmt.Errorf("%d of %s failed", failures, count(tests, "test"))
	}
	return nil
}

// loadTests loads all test files before one is run: what is wrong is said at once.
func loadTests(names []string, config string) ([]*ruletest.File, error) {
	env := ruletest.Environment{
		Rules: func(names []string, cfg *configs.Config) (*rules.Set, error) {
			if len(names) == 0 {
				return app.LoadRules(cfg)
			}
			return app.LoadRuleFiles(names, cfg)
		},
		Config: configs.Load, Sources: app.Sources, ConfigFile: config,
	}
	var files []*ruletest.File
	var problems strict.Errors
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			problems = append(problems, &strict.Error{File: name, Msg: fmt.Sprintf("read tests: %v", err)})
			continue
		}
		f, err := ruletest.Load(name, data, env)
		var list strict.Errors
		switch {
		case errors.As(err, &list):
			problems = append(problems, list...)
		case err != nil:
			return nil, err
		default:
			files = append(files, f)
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return files, nil
}
