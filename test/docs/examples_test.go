package docs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"weir/cmd/weir/app"
	"weir/configs"
	"weir/configs/strict"
	"weir/rules"
	"weir/test/authority"
)

var topKey = regexp.MustCompile(`(?m)^([a-z_]+):`)

// isRules reports whether a yaml block is a rule file.
func (b *block) isRules() bool {
	m := topKey.FindStringSubmatch(b.text)
	return m != nil && (m[1] == "groups" || m[1] == "attributes")
}

// isTable reports whether a block is a table of devices.
func (b *block) isTable() bool { return b.info == "yaml table" || b.info == "csv" }

// readTable reads the tables that the rule files of a page name: its only
// table of that format.
func (p *page) readTable(t *testing.T) func(name string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		for _, b := range p.blocks(t) {
			if b.isTable() && strings.HasPrefix(b.info, strings.TrimPrefix(filepath.Ext(name), ".")) {
				return []byte(b.text), nil
			}
		}
		return nil, os.ErrNotExist
	}
}

func ruleOptions() rules.Options {
	return rules.Options{Sinks: []string{"ops-webhook"}, Sources: []string{"plant"}}
}

func TestEveryYAMLBlockLoads(t *testing.T) {
	found := map[string]int{}
	for _, p := range pages(t) {
		for _, b := range p.blocks(t) {
			switch {
			case b.info == "yaml refused", b.isTable(), b.isTests():
				continue
			case !strings.HasPrefix(b.info, "yaml"):
				continue
			case b.isRules():
				found["rules"]++
				o := ruleOptions()
				o.ReadFile = p.readTable(t)
				if _, err := rules.Load([]rules.File{{Name: "rules.yaml", Data: []byte(b.text)}}, o); err != nil {
					t.Errorf("%v: %v", b, err)
				}
			default:
				found["config"]++
				checkConfig(t, b)
			}
		}
	}
	if found["rules"] < 3 || found["config"] < 8 {
		t.Errorf("only %v blocks were found: does the test still read the pages?", found)
	}
}

// checkConfig checks a config as weir check does, beside a users file of the
// name that pages use.
func checkConfig(t *testing.T, b *block) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "users.yaml"), []byte("users: []\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tlsFiles(t, filepath.Join(dir, "tls"))
	// What ${file:...} names is not on this machine.
	text := regexp.MustCompile(`\$\{file:[^}]*\}`).ReplaceAllString(b.text, "from-a-file")
	cfg, err := configs.Parse(filepath.Join(dir, "weir.yaml"), []byte(text), func(string) string { return "from-the-environment" })
	if err != nil {
		t.Errorf("%v: %v", b, err)
		return
	}
	if _, err := app.Check(cfg); err != nil {
		t.Errorf("%v: %v", b, err)
	}
}

// tlsFiles writes certificates under the names that pages use.
func tlsFiles(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	a := authority.New(t)
	a.WriteCA(filepath.Join(dir, "devices-ca.pem"))
	a.Write(dir, "server")
}

// TestConsoleBlocksGiveWhatTheyShow runs decode and rules check, which need no
// running weir. The block of YAML before them is the file that they name.
func TestConsoleBlocksGiveWhatTheyShow(t *testing.T) {
	ran := 0
	for _, p := range pages(t) {
		yaml := ""
		for _, b := range p.blocks(t) {
			if strings.HasPrefix(b.info, "yaml") {
				yaml = b.text
			}
			if b.info != "console" {
				continue
			}
			for _, c := range transcript(b.text) {
				if !strings.Contains(c.line, "weir decode") && !strings.Contains(c.line, "weir rules check") {
					continue
				}
				ran++
				if got := runLine(t, c.line, yaml); got != c.output {
					t.Errorf("%v: $ %s\ngives\n%s\nthe page shows\n%s", b, c.line, got, c.output)
				}
			}
		}
	}
	if ran < 12 {
		t.Errorf("only %d commands were run: does the test still read the pages?", ran)
	}
}

type shown struct{ line, output string }

// transcript splits a block into commands and their output.
func transcript(text string) []shown {
	var all []shown
	for _, l := range strings.SplitAfter(text, "\n") {
		if cmd, ok := strings.CutPrefix(l, "$ "); ok {
			all = append(all, shown{line: strings.TrimSpace(cmd)})
		} else if len(all) > 0 {
			all[len(all)-1].output += l
		}
	}
	return all
}

// runLine runs a line of shell in a folder that looks as the page says.
func runLine(t *testing.T, line, yaml string) string {
	t.Helper()
	dir := t.TempDir()
	abs, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"weir.yaml": yaml, "hot.yaml": yaml} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{"bin": binDir, "configs": filepath.Join(abs, "configs")} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+binDir+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", line, err)
	}
	return string(out)
}

// TestRefusedRulesAreRefusedAsShown holds blocks marked "refused" against the
// text block that follows them, if one does.
func TestRefusedRulesAreRefusedAsShown(t *testing.T) {
	found := 0
	for _, p := range pages(t) {
		all := p.blocks(t)
		for i, b := range all {
			if b.info != "yaml refused" {
				continue
			}
			found++
			_, err := rules.Load([]rules.File{{Name: "later.yaml", Data: []byte(b.text)}}, ruleOptions())
			var list strict.Errors
			if !errors.As(err, &list) {
				t.Errorf("%v: it is not refused: %v", b, err)
				continue
			}
			if i+1 == len(all) || all[i+1].info != "text" {
				continue
			}
			var got strings.Builder
			for _, e := range list {
				got.WriteString("weir: " + e.Error() + "\n")
				if e.Hint != "" {
					got.WriteString("weir: hint: " + e.Hint + "\n")
				}
			}
			if got.String() != all[i+1].text {
				t.Errorf("%v: it is refused with\n%s\nthe page shows\n%s", b, got.String(), all[i+1].text)
			}
		}
	}
	if found < 2 {
		t.Errorf("only %d refused blocks were found", found)
	}
}
