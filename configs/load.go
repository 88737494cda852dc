package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"weir/configs/strict"
)

// Load reads and checks a configuration file with the process's environment.
// The error holds strict.Errors if the file's content is wrong.
func Load(path string) (*Config, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, src, os.Getenv)
}

// LoadFS is Load for a file of fsys, such as Demo. The rule files that it
// names are looked for in fsys too; what ${file:...} names is not.
func LoadFS(fsys fs.FS, name string, getenv func(string) string) (*Config, error) {
	src, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parse(fsys, name, src, getenv)
}

// Parse checks the content of a configuration file. Names of files in it are
// relative to file; getenv returns the value of an environment variable, "" if
// it is not set. On a problem with the content the error is strict.Errors, all
// of them; what is only doubtful goes to the Config's Warnings.
func Parse(file string, src []byte, getenv func(string) string) (*Config, error) {
	return parse(nil, file, src, getenv)
}

func parse(files fs.FS, file string, src []byte, getenv func(string) string) (*Config, error) {
	c := Default()
	c.File, c.files = file, files
	x := expander{getenv: getenv, readFile: func(name string) ([]byte, error) { return os.ReadFile(within(file, name)) }}

	var problems strict.Errors
	if err := strict.DecodeExpanded(file, src, c, x.expand); err != nil {
		if !errors.As(err, &problems) {
			return nil, err
		}
	}
	c.normalise()
	c.skipOptional()
	v := validator{c: c, errs: problems, broken: len(problems) > 0}
	v.config()
	if err := v.errs.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// normalise fills in defaults that depend on other keys, and gives values the
// one form that their documentation says.
func (c *Config) normalise() {
	if t := &c.MQTT.TLS; t.ClientCert.Value == "" {
		t.ClientCert.Value = ClientCertNone
		if t.ClientCA.Value != "" {
			t.ClientCert.Value = ClientCertRequired
		}
	}
	for _, s := range c.Sources {
		for word, value := range s.Words {
			switch v := value.(type) {
			case int:
				s.Words[word] = float64(v)
			case int64:
				s.Words[word] = float64(v)
			case uint64:
				s.Words[word] = float64(v)
			}
		}
	}
}

// skipOptional takes out the optional sinks that have no address.
func (c *Config) skipOptional() {
	var on []Sink
	for _, s := range c.Sinks {
		if u, section, kind := s.url(); kind != "" && s.Optional && u.IsEmpty() {
			c.Skipped = append(c.Skipped, s.Name.Value)
			c.Notes.Addf(c.File, section.At("url"), "", "sink %q is off: it is optional and its url is empty", s.Name.Value)
			continue
		}
		on = append(on, s)
	}
	c.Sinks = on
}

// Path returns a file's name relative to the configuration file, e.g. that of
// users_file or a certificate.
func (c *Config) Path(name string) string {
	if name == "" {
		return ""
	}
	return within(c.File, name)
}

// RuleFiles returns the names of the files that match the globs of rules now,
// sorted, each once; ReadFile reads them. A name without wildcards whose file is
// not there is an error, which is strict.Errors.
func (c *Config) RuleFiles() ([]string, error) {
	var all []string
	for _, g := range c.Rules {
		names, err := c.glob(g.Value)
		if err != nil {
			return nil, strict.Errors{{File: c.File, Pos: g.Pos, Msg: fmt.Sprintf("rules: find files %s: %v", g.Value, err)}}
		}
		if len(names) == 0 && plainFile(g.Value) { // it was there when the config was checked
			return nil, strict.Errors{{File: c.File, Pos: g.Pos, Msg: fmt.Sprintf("rules: there is no file %q", g.Value)}}
		}
		if !plainFile(g.Value) { // tests of rules may stand beside the rules
			names = slices.DeleteFunc(names, isRuleTest)
		}
		all = append(all, names...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func isRuleTest(name string) bool {
	return strings.HasSuffix(name, ".test.yaml") || strings.HasSuffix(name, ".test.yml")
}

func (c *Config) glob(pattern string) ([]string, error) {
	if c.files != nil {
		return fs.Glob(c.files, path.Join(path.Dir(c.File), pattern))
	}
	return filepath.Glob(within(c.File, pattern))
}

// ReadFile reads a file that RuleFiles returned.
func (c *Config) ReadFile(name string) ([]byte, error) {
	if c.files != nil {
		return fs.ReadFile(c.files, name)
	}
	switch info, err := os.Stat(name); {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() && !info.IsDir(): // a pipe would be waited for, for ever, and with it all later edits
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("it is no file, but a pipe, a socket or a device")}
	}
	return os.ReadFile(name)
}

// RuleDirs returns the folders in which rule files may appear, sorted, each
// once: those to watch. There are none for a Config from LoadFS, whose files
// don't change.
func (c *Config) RuleDirs() []string {
	if c.files != nil {
		return nil
	}
	var dirs []string
	for _, g := range c.Rules {
		dir := filepath.Dir(within(c.File, g.Value))
		if matches, err := filepath.Glob(dir); err == nil && len(matches) > 0 {
			dirs = append(dirs, matches...)
		} else {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}
