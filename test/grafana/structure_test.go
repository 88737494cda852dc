package grafana

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

type datasources struct {
	APIVersion  int `yaml:"apiVersion"`
	Datasources []struct {
		Name           string            `yaml:"name"`
		UID            string            `yaml:"uid"`
		Type           string            `yaml:"type"`
		Access         string            `yaml:"access"`
		URL            string            `yaml:"url"`
		User           string            `yaml:"user"`
		IsDefault      bool              `yaml:"isDefault"`
		Editable       bool              `yaml:"editable"`
		JSONData       map[string]any    `yaml:"jsonData"`
		SecureJSONData map[string]string `yaml:"secureJsonData"`
	} `yaml:"datasources"`
}

type providers struct {
	APIVersion int `yaml:"apiVersion"`
	Providers  []struct {
		Name                  string            `yaml:"name"`
		Folder                string            `yaml:"folder"`
		Type                  string            `yaml:"type"`
		AllowUIUpdates        bool              `yaml:"allowUiUpdates"`
		UpdateIntervalSeconds int               `yaml:"updateIntervalSeconds"`
		Options               map[string]string `yaml:"options"`
	} `yaml:"providers"`
}

var environment = regexp.MustCompile(`^\$[A-Z][A-Z_]*$`)

func TestProvisioningNamesNoSecretAndNoHost(t *testing.T) {
	var ds datasources
	readYAML(t, "provisioning/datasources/weir.yaml", &ds)
	if ds.APIVersion != 1 || len(ds.Datasources) != 1 {
		t.Fatalf("version %d, %d data sources; want 1 and 1", ds.APIVersion, len(ds.Datasources))
	}
	d := ds.Datasources[0]
	if d.Type != "influxdb" || d.JSONData["version"] != "InfluxQL" || d.Access != "proxy" || !d.IsDefault {
		t.Errorf("data source %+v, want the default one, InfluxDB with InfluxQL through the proxy", d)
	}
	db, _ := d.JSONData["dbName"].(string)
	for key, value := range map[string]string{"url": d.URL, "user": d.User, "dbName": db, "password": d.SecureJSONData["password"]} {
		if !environment.MatchString(value) {
			t.Errorf("%s is %q, want a variable of the environment", key, value)
		}
	}

	var prometheus datasources
	readYAML(t, "prometheus.yaml", &prometheus)
	if p := prometheus.Datasources[0]; p.Type != "prometheus" || p.UID == d.UID || p.IsDefault || !environment.MatchString(p.URL) {
		t.Errorf("the Prometheus data source is %+v", p)
	}

	var ps providers
	readYAML(t, "provisioning/dashboards/weir.yaml", &ps)
	if len(ps.Providers) != 1 || ps.Providers[0].Type != "file" || ps.Providers[0].Options["path"] == "" {
		t.Errorf("dashboard providers %+v, want one of files", ps.Providers)
	}
}

func TestDashboardsFitTheirProvisioning(t *testing.T) {
	var ds datasources
	readYAML(t, "provisioning/datasources/weir.yaml", &ds)
	known := map[string]string{}
	for _, d := range ds.Datasources {
		known[d.UID] = d.Type
	}
	uids := map[string]string{}
	var links []string
	for _, b := range boards(t) {
		if b.UID == "" || b.Title == "" || uids[b.UID] != "" {
			t.Errorf("%s: uid %q, title %q; another dashboard with the uid: %q", b.file, b.UID, b.Title, uids[b.UID])
		}
		uids[b.UID] = b.file
		if b.SchemaVersion < 39 || b.SchemaVersion > 41 {
			t.Errorf("%s: schema version %d, want one of Grafana 11 and 12 (39 to 41)", b.file, b.SchemaVersion)
		}
		for _, l := range b.Links {
			links = append(links, l.URL)
		}
		check := func(where string, s *source) {
			if s == nil || s.Type == "" || known[s.UID] != s.Type {
				t.Errorf("%s: %s: data source %+v is not provisioned", b.file, where, s)
			}
		}
		for _, p := range b.Panels {
			if p.Type == "row" {
				continue
			}
			check(p.Title, p.Datasource)
			for _, q := range p.Targets {
				check(p.Title+" "+q.RefID, q.Datasource)
			}
		}
		for _, v := range b.Templating.List {
			check("variable "+v.Name, v.Datasource)
		}
		for _, a := range b.Annotations.List {
			check("annotation "+a.Name, a.Datasource)
		}
	}
	for _, want := range []string{"weir-fleet", "weir-pipeline"} {
		if uids[want] == "" {
			t.Errorf("no dashboard %s", want)
		}
	}
	for _, l := range links {
		if uids[strings.TrimPrefix(l, "/d/")] == "" {
			t.Errorf("a link leads to %s, which is no dashboard here", l)
		}
	}
}

func TestPanelsAreWellFormed(t *testing.T) {
	types := []string{"stat", "timeseries", "table", "state-timeline"}
	for _, b := range boards(t) {
		ids, titles := map[int]string{}, map[string]bool{}
		for i, p := range b.Panels {
			if ids[p.ID] != "" || p.ID <= 0 {
				t.Errorf("%s: panel %q has id %d, as has %q", b.file, p.Title, p.ID, ids[p.ID])
			}
			ids[p.ID] = p.Title
			g := p.GridPos
			if g.X < 0 || g.Y < 0 || g.W <= 0 || g.H <= 0 || g.X+g.W > 24 {
				t.Errorf("%s: panel %q is not on the grid: %+v", b.file, p.Title, g)
			}
			for _, o := range b.Panels[:i] {
				h := o.GridPos
				if g.X < h.X+h.W && h.X < g.X+g.W && g.Y < h.Y+h.H && h.Y < g.Y+g.H {
					t.Errorf("%s: panels %q and %q overlap", b.file, p.Title, o.Title)
				}
			}
			if p.Type == "row" {
				continue
			}
			if !slices.Contains(types, p.Type) || len(p.Targets) == 0 || p.Description == "" {
				t.Errorf("%s: panel %q: type %q, %d queries, description %q", b.file, p.Title, p.Type, len(p.Targets), p.Description)
			}
			if key := p.Type + p.Title; titles[key] {
				t.Errorf("%s: two %s panels are called %q", b.file, p.Type, p.Title)
			} else {
				titles[key] = true
			}
			checkThresholds(t, b, p)
			checkQueries(t, b, p)
		}
	}
}

func checkThresholds(t *testing.T, b board, p panel) {
	t.Helper()
	steps := p.FieldConfig.Defaults.Thresholds.Steps
	if len(steps) == 0 || steps[0].Value != nil {
		t.Errorf("%s: panel %q: thresholds %v, want a first one without a value", b.file, p.Title, steps)
		return
	}
	for i := 1; i < len(steps); i++ {
		if steps[i].Value == nil || i > 1 && *steps[i].Value <= *steps[i-1].Value {
			t.Errorf("%s: panel %q: the thresholds don't rise", b.file, p.Title)
		}
	}
}

var reference = regexp.MustCompile(`\$\{?([A-Za-z_]+)`)

func checkQueries(t *testing.T, b board, p panel) {
	t.Helper()
	refs := map[string]bool{}
	for _, q := range p.Targets {
		if refs[q.RefID] || q.RefID == "" {
			t.Errorf("%s: panel %q: two queries %q", b.file, p.Title, q.RefID)
		}
		refs[q.RefID] = true
		if !q.RawQuery || q.Query == "" || (p.Type == "table") != (q.ResultFormat == "table") {
			t.Errorf("%s: panel %q %s: raw %v, format %q", b.file, p.Title, q.RefID, q.RawQuery, q.ResultFormat)
		}
		for _, m := range reference.FindAllStringSubmatch(q.Query, -1) {
			if !b.hasVariable(m[1]) && m[1] != "timeFilter" && m[1] != "__interval" {
				t.Errorf("%s: panel %q %s: $%s is no variable of the dashboard", b.file, p.Title, q.RefID, m[1])
			}
		}
		if strings.Contains(q.Query, "$__interval") && !strings.Contains(q.Query, "fill(") {
			t.Errorf("%s: panel %q %s: intervals without data are not said to be left out", b.file, p.Title, q.RefID)
		}
	}
	if p.Interval != "" {
		if d, err := time.ParseDuration(p.Interval); err != nil || d < time.Second {
			t.Errorf("%s: panel %q: least interval %q", b.file, p.Title, p.Interval)
		}
	}
}

func (b board) hasVariable(name string) bool {
	return slices.ContainsFunc(b.Templating.List, func(v variable) bool { return v.Name == name })
}

func TestVariablesChooseSeveralOrAll(t *testing.T) {
	want := map[string][]string{"weir-fleet": {"site", "device"}, "weir-pipeline": {"host"}}
	for _, b := range boards(t) {
		var names []string
		for _, v := range b.Templating.List {
			names = append(names, v.Name)
			if v.Type != "query" || !v.Multi || !v.IncludeAll || v.AllValue != ".*" {
				t.Errorf("%s: variable %+v, want a query with several, and all as .*", b.file, v)
			}
		}
		if !slices.Equal(names, want[b.UID]) {
			t.Errorf("%s: variables %v, want %v", b.file, names, want[b.UID])
		}
	}
}

func TestDashboardsAreTheOnlyFilesInTheirFolder(t *testing.T) {
	entries, err := os.ReadDir(filepath.Join(root, "dashboards"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".json" {
			t.Errorf("%s is no dashboard, and Grafana reads the folder", e.Name())
		}
	}
}
