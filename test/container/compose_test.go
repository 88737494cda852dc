package container

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const root = "../.."

// compose is what the tests look at of docker-compose.yaml. Keys that are not
// here are an error: a new one wants a test, or a line here.
type compose struct {
	Name     string
	Services map[string]service
	Volumes  map[string]any
}

type service struct {
	Image string
	Build *struct {
		Context string
		Target  string
	}
	Command     []string
	Ports       []string
	Environment map[string]string
	Volumes     []string
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	Healthcheck *struct {
		Test              []string
		Interval, Timeout string
		Retries           int
	}
	Restart         string
	StopGracePeriod string `yaml:"stop_grace_period"`
	ReadOnly        bool   `yaml:"read_only"`
	Tmpfs           []string
	CapDrop         []string       `yaml:"cap_drop"`
	SecurityOpt     []string       `yaml:"security_opt"`
	Ulimits         map[string]int `yaml:"ulimits"`
	Logging         struct {
		Driver  string
		Options map[string]string
	}
}

func load(t *testing.T) compose {
	t.Helper()
	f, err := os.Open(filepath.Join(root, "docker-compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dec := yaml.NewDecoder(f)
	dec.KnownFields(true)
	var c compose
	if err := dec.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

// pinned is an image with a full version.
var pinned = regexp.MustCompile(`^[a-z0-9./-]+:v?[0-9]+\.[0-9]+\.[0-9]+(-[a-z0-9]+)?$`)

func TestComposeStartsWeirInfluxDBGrafanaAndTheSimulator(t *testing.T) {
	c := load(t)
	if got := slices.Sorted(maps.Keys(c.Services)); !slices.Equal(got, []string{"grafana", "influxdb", "simulator", "weir"}) {
		t.Errorf("services %v", got)
	}
	stages := stages(t)
	for name, s := range c.Services {
		switch {
		case s.Build != nil:
			if s.Build.Context != "." || !slices.Contains(stages, s.Build.Target) || !strings.HasSuffix(s.Image, ":local") {
				t.Errorf("%s: built from %+v as %s; the stages are %v", name, *s.Build, s.Image, stages)
			}
		case !pinned.MatchString(s.Image):
			t.Errorf("%s: image %q has no full version", name, s.Image)
		}
		if s.Restart != "unless-stopped" || s.Logging.Options["max-size"] == "" || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s: restart %q, logs %v, security %v", name, s.Restart, s.Logging.Options, s.SecurityOpt)
		}
		for other, d := range s.DependsOn {
			if _, ok := c.Services[other]; !ok || d.Condition != "service_healthy" {
				t.Errorf("%s depends on %s when %q", name, other, d.Condition)
			}
			if other != "weir" && c.Services[other].Healthcheck == nil {
				t.Errorf("%s waits until %s is healthy, which has no healthcheck", name, other)
			}
		}
	}
	if got := c.Services["influxdb"].Image; got != "influxdb:1.8.10" {
		t.Errorf("InfluxDB is %s; the tests run against 1.8.10", got)
	}
	if len(c.Services["weir"].DependsOn) != 0 {
		t.Error("weir waits for another service, and needs none")
	}
}

func TestPortsAreOnThisMachineOnly(t *testing.T) {
	port := regexp.MustCompile(`^127\.0\.0\.1:(\d+):\d+$`)
	taken := map[string]string{}
	for name, s := range load(t).Services {
		for _, p := range s.Ports {
			m := port.FindStringSubmatch(p)
			if m == nil {
				t.Errorf("%s publishes %q, want 127.0.0.1:host:container", name, p)
				continue
			}
			if taken[m[1]] != "" {
				t.Errorf("%s and %s both publish %s", name, taken[m[1]], m[1])
			}
			taken[m[1]] = name
		}
	}
	if len(taken) != 4 {
		t.Errorf("published ports: %v, want those of MQTT, HTTP, InfluxDB and Grafana", taken)
	}
}

func TestMountsExist(t *testing.T) {
	c := load(t)
	used := map[string]bool{}
	for name, s := range c.Services {
		for _, v := range s.Volumes {
			from, rest, ok := strings.Cut(v, ":")
			if !ok || !strings.HasPrefix(rest, "/") {
				t.Errorf("%s: volume %q", name, v)
				continue
			}
			if !strings.HasPrefix(from, ".") {
				used[from] = true
				if _, ok := c.Volumes[from]; !ok {
					t.Errorf("%s: volume %q is not declared", name, from)
				}
				continue
			}
			if _, err := os.Stat(filepath.Join(root, from)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if !strings.HasSuffix(rest, ":ro") {
				t.Errorf("%s: %s is mounted so that the container can change it", name, from)
			}
		}
	}
	for v := range c.Volumes {
		if !used[v] {
			t.Errorf("volume %s is not used", v)
		}
	}
}

func TestWhoMustAgreeHasTheSameNamesAndPasswords(t *testing.T) {
	c := load(t)
	weir, influx, grafana := c.Services["weir"].Environment, c.Services["influxdb"].Environment, c.Services["grafana"].Environment
	for _, pair := range []struct{ what, a, b string }{
		{"database of weir", weir["INFLUXDB_DATABASE"], influx["INFLUXDB_DB"]},
		{"database of Grafana", grafana["INFLUXDB_DATABASE"], influx["INFLUXDB_DB"]},
		{"writer", weir["INFLUXDB_WRITER"], influx["INFLUXDB_WRITE_USER"]},
		{"writer's password", weir["INFLUXDB_WRITER_PASSWORD"], influx["INFLUXDB_WRITE_USER_PASSWORD"]},
		{"reader", grafana["INFLUXDB_READER"], influx["INFLUXDB_READ_USER"]},
		{"reader's password", grafana["INFLUXDB_READER_PASSWORD"], influx["INFLUXDB_READ_USER_PASSWORD"]},
		{"address", weir["INFLUXDB_URL"], grafana["INFLUXDB_URL"]},
	} {
		if pair.a == "" || pair.a != pair.b {
			t.Errorf("%s: %q and %q", pair.what, pair.a, pair.b)
		}
	}
	if influx["INFLUXDB_HTTP_AUTH_ENABLED"] != "true" {
		t.Error("InfluxDB asks for no password")
	}
	fromEnvironment := regexp.MustCompile(`^\$\{[A-Z_]+:-[^}]+\}$`)
	secrets := 0
	for name, s := range c.Services {
		for key, value := range s.Environment {
			if strings.Contains(key, "PASSWORD") {
				secrets++
				if !fromEnvironment.MatchString(value) {
					t.Errorf("%s: %s is not from the environment, with a default", name, key)
				}
			}
		}
	}
	if secrets < 6 {
		t.Errorf("%d passwords found; the test is broken", secrets)
	}
}

// The names that Grafana's provisioning reads are those that the container has.
func TestGrafanaHasWhatItsProvisioningReads(t *testing.T) {
	g := load(t).Services["grafana"]
	raw, err := os.ReadFile(filepath.Join(root, "configs/grafana/provisioning/datasources/weir.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`: \$([A-Z_]+)`).FindAllStringSubmatch(string(raw), -1)
	for _, m := range names {
		if _, ok := g.Environment[m[1]]; !ok {
			t.Errorf("the data source reads $%s, which the container does not have", m[1])
		}
	}
	if len(names) != 4 {
		t.Errorf("the data source reads %v", names)
	}
	raw, err = os.ReadFile(filepath.Join(root, "configs/grafana/provisioning/dashboards/weir.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	path := regexp.MustCompile(`path: (\S+)`).FindStringSubmatch(string(raw))
	if path == nil || !slices.Contains(g.Volumes, "./configs/grafana/dashboards:"+path[1]+":ro") {
		t.Errorf("dashboards are read from %v, the mounts are %v", path, g.Volumes)
	}
	home := g.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if _, err := os.Stat(filepath.Join(root, "configs/grafana/dashboards", filepath.Base(home))); err != nil || path == nil || filepath.Dir(home) != path[1] {
		t.Errorf("the first dashboard is %s: %v", home, err)
	}
}
