package configs

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"weir/configs/strict"
)

var commented = regexp.MustCompile(`(?m)^( *)# `)

// uncommented returns weir.yaml with every key in force that it shows.
func uncommented(t *testing.T) []byte {
	t.Helper()
	src, err := os.ReadFile("weir.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return commented.ReplaceAll(src, []byte("$1"))
}

func setEverything(string) string { return "from-the-environment" }

func TestWeirYAMLLoadsAsItIs(t *testing.T) {
	c, err := Load("weir.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Sources) != 1 || c.Sources[0].Name.Value != "plant" || len(c.Sinks) != 0 {
		t.Errorf("sources %v, sinks %v", c.Sources, c.Sinks)
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Msg, "no client can connect") {
		t.Errorf("warnings: %v, want only that there are no users yet", c.Warnings)
	}
	files, err := c.RuleFiles()
	if err != nil || !slices.Contains(files, filepath.Join("rules", "demo.yaml")) {
		t.Errorf("rule files %v, %v", files, err)
	}
}

func TestWeirYAMLLoadsWithEveryExampleInForce(t *testing.T) {
	c, err := Parse("weir.yaml", uncommented(t), setEverything)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
	if len(c.Sources) != 2 || len(c.Sinks) != 7 {
		t.Errorf("%d sources and %d sinks, want 2 and 7", len(c.Sources), len(c.Sinks))
	}
	if got := c.Sinks[0].InfluxDB.Token.Reveal(); got != setEverything("") {
		t.Errorf("the token is %q", got)
	}
}

// TestWeirYAMLShowsDefaults holds that where the sample says what a setting is
// without an example's sake, it says the default.
func TestWeirYAMLShowsDefaults(t *testing.T) {
	c, err := Parse("weir.yaml", uncommented(t), setEverything)
	if err != nil {
		t.Fatal(err)
	}
	d := Default()
	for name, pair := range map[string][2]any{
		"log": {c.Log, d.Log}, "mqtt.limits": {c.MQTT.Limits, d.MQTT.Limits}, "devices": {c.Devices, d.Devices},
		"logging": {c.Logging, d.Logging}, "shutdown": {c.Shutdown, d.Shutdown}, "http": {c.HTTP, d.HTTP},
		"data_dir": {c.DataDir, d.DataDir}, "mqtt.listen": {c.MQTT.Listen, d.MQTT.Listen},
		"mqtt.websocket.path": {c.MQTT.WebSocket.Path, d.MQTT.WebSocket.Path}, "mqtt.tls.listen": {c.MQTT.TLS.Listen, d.MQTT.TLS.Listen},
	} {
		got, err1 := yaml.Marshal(pair[0])
		want, err2 := yaml.Marshal(pair[1])
		if err1 != nil || err2 != nil || string(got) != string(want) {
			t.Errorf("%s: weir.yaml shows\n%s\nbut the default is\n%s(%v, %v)", name, got, want, err1, err2)
		}
	}
}

func TestWeirYAMLShowsEveryKey(t *testing.T) {
	var doc yaml.Node
	if err := yaml.Unmarshal(uncommented(t), &doc); err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	collect(doc.Content[0], "", shown)
	known := map[string]bool{}
	keysOf(reflect.TypeFor[Config](), "", known)
	if len(known) < 90 {
		t.Fatalf("found only %d keys by reflection: the test is broken", len(known))
	}
	for key := range known {
		if !shown[key] {
			t.Errorf("weir.yaml does not show %s", strings.TrimPrefix(key, "."))
		}
	}
}

// collect gathers the paths of the keys below n; list items have none.
func collect(n *yaml.Node, path string, into map[string]bool) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			p := path + "." + n.Content[i].Value
			into[p] = true
			collect(n.Content[i+1], p, into)
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			collect(c, path, into)
		}
	}
}

func keysOf(t reflect.Type, path string, into map[string]bool) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[strict.String]() {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case !f.IsExported() || name == "-":
		case opts == "inline":
			keysOf(f.Type, path, into)
		case name != "":
			into[path+"."+name] = true
			keysOf(f.Type, path+"."+name, into)
		}
	}
}

func TestDemoStartsWithNothingElseInstalled(t *testing.T) {
	c, err := LoadFS(Demo(), "demo.yaml", func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
	if len(c.Sinks) != 0 || !slices.Equal(c.Skipped, []string{"influx"}) || len(c.Notes) != 1 {
		t.Errorf("sinks %v, skipped %v, notes %v: want influx to be off", c.Sinks, c.Skipped, c.Notes)
	}
	if !c.MQTT.Anonymous || !loopback(c.MQTT.Listen.Value) || !loopback(c.HTTP.Listen.Value) {
		t.Error("the demo lets anyone in, so it must listen on this machine only")
	}
	files, err := c.RuleFiles()
	if err != nil || !slices.Equal(files, []string{"rules/demo.yaml"}) {
		t.Fatalf("rule files %v, %v", files, err)
	}
	built, err := c.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if onDisk, err := os.ReadFile("rules/demo.yaml"); err != nil || string(onDisk) != string(built) {
		t.Errorf("the rules that are built in differ from the file: %v", err)
	}
}

func TestDemoWritesToInfluxDBWhenThereIsOne(t *testing.T) {
	env := map[string]string{"INFLUX_URL": "http://127.0.0.1:8086", "INFLUX_TOKEN": "t"}
	c, err := LoadFS(Demo(), "demo.yaml", func(k string) string { return env[k] })
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Sinks) != 1 || c.Sinks[0].InfluxDB.Bucket.Value != "telemetry" || len(c.Skipped) != 0 {
		t.Errorf("sinks %v, skipped %v", c.Sinks, c.Skipped)
	}
}

func TestTheOtherSamplesAreStrictYAML(t *testing.T) {
	for _, name := range []string{"rules/demo.yaml", "users.example.yaml"} {
		src, err := fs.ReadFile(Demo(), name)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Groups    []map[string]any `yaml:"groups"`
			Users     []map[string]any `yaml:"users"`
			Anonymous map[string]any   `yaml:"anonymous"`
		}
		if err := strict.Decode(name, src, &doc); err != nil || len(doc.Groups)+len(doc.Users) == 0 {
			t.Errorf("%s: %v, %d groups, %d users", name, err, len(doc.Groups), len(doc.Users))
		}
	}
}
