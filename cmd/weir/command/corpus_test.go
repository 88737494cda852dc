package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// run calls the command line and returns what it did.
func run(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = Run(t.Context(), args, Env{Release: "1.2.3", Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs})
	return status, out.String(), errs.String()
}

// consistent checks that weir decode said one thing only: events, why there are
// none, or why the payload was rejected.
func consistent(status int, stdout, stderr string) error {
	switch {
	case status == done && stdout == "":
		if !strings.HasPrefix(stderr, "weir: source any: no event: ") || strings.Count(stderr, "\n") != 1 {
			return fmt.Errorf("no event, and standard error says %q", stderr)
		}
	case status == done:
		if stderr != "" {
			return fmt.Errorf("events, and standard error says %q", stderr)
		}
		for _, line := range strings.Split(strings.TrimSuffix(stdout, "\n"), "\n") {
			var d decoded
			if err := json.Unmarshal([]byte(line), &d); err != nil {
				return fmt.Errorf("line %q: %w", line, err)
			}
			if d.Source != "any" || d.Measurement == "" || d.Device == "" || len(d.Fields) == 0 || d.Time.Equal(time.Unix(0, 0)) {
				return fmt.Errorf("event %s", line)
			}
		}
	case status == failed:
		if stdout != "" || !strings.HasPrefix(stderr, "weir: topic ") || strings.TrimSpace(strings.TrimPrefix(stderr, "weir: topic ")) == "" {
			return fmt.Errorf("rejected, and it says %q on standard output and %q on standard error", stdout, stderr)
		}
	default:
		return fmt.Errorf("exit status %d: %s%s", status, stdout, stderr)
	}
	return nil
}

// generic writes a config with one source that takes every topic.
func generic(t testing.TB, format string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), format+".yaml")
	config := fmt.Sprintf("mqtt: {listen: '127.0.0.1:0', anonymous: true}\nsources: [{name: any, topic: '{device...}', format: %s}]\n", format)
	if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func formats() []string { return []string{"json", "value", "auto", "line-protocol"} }

// TestDecodeOfTheCorpusIsConsistent puts every payload of the folder that
// WEIR_PAYLOADS names through weir decode in every format: most fit one and
// are hostile to the others.
func TestDecodeOfTheCorpusIsConsistent(t *testing.T) {
	dir := os.Getenv("WEIR_PAYLOADS")
	if dir == "" {
		t.Skip("WEIR_PAYLOADS names no folder with the corpus")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus in %s: %v", dir, err)
	}
	counts := map[string]int{}
	for _, format := range formats() {
		config := generic(t, format)
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var cases []struct {
				ID, Topic, Payload string
				Bytes              []byte `json:"payload_base64"`
			}
			if err := json.Unmarshal(text, &cases); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			for _, c := range cases {
				status, stdout, stderr := run(t, c.Payload+string(c.Bytes), "decode", "-c", config, "--topic", c.Topic)
				if err := consistent(status, stdout, stderr); err != nil {
					t.Errorf("%s as %s: %v", c.ID, format, err)
				}
				counts[fmt.Sprint(format, " ", map[bool]string{true: "rejected", false: "taken"}[status == failed])]++
			}
		}
	}
	t.Logf("%v", counts)
	for _, format := range formats() {
		if counts[format+" taken"] == 0 {
			t.Errorf("no payload at all was taken as %s", format)
		}
	}
}

// FuzzDecodeIsConsistent does the same with payloads that nobody has seen.
func FuzzDecodeIsConsistent(f *testing.F) {
	for i, p := range []string{`{"t":21.5,"ts":1}`, `ON`, `-1e309`, `m,a=b v=1i 5`, "", "\x00\xff", `{"a":{"b":[1,{"c":null}]}}`, `"x"`, `[[1]]`, "m v=\"\\\"\"\n#x\n"} {
		f.Add(uint8(i), "a/b", p)
	}
	var config []string
	for _, format := range formats() {
		config = append(config, generic(f, format))
	}
	f.Fuzz(func(t *testing.T, format uint8, topic, payload string) {
		config := config[int(format)%len(config)]
		status, stdout, stderr := run(t, payload, "decode", "-c", config, "--topic", topic)
		if status == wrong && strings.Contains(stderr, "is not a topic to publish to") {
			return
		}
		if err := consistent(status, stdout, stderr); err != nil {
			t.Error(err)
		}
	})
}
