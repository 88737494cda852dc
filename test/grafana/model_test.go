package grafana

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// root is the folder with the files under test.
const root = "../../configs/grafana"

// board is what the tests look at of a dashboard.
type board struct {
	file string

	UID           string `json:"uid"`
	Title         string `json:"title"`
	SchemaVersion int    `json:"schemaVersion"`
	Refresh       string `json:"refresh"`
	Links         []struct{ URL string }
	Panels        []panel `json:"panels"`
	Templating    struct {
		List []variable `json:"list"`
	} `json:"templating"`
	Annotations struct {
		List []annotation `json:"list"`
	} `json:"annotations"`
}

type source struct{ Type, UID string }

type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	Datasource  *source
	Interval    string
	GridPos     struct{ X, Y, W, H int }
	Targets     []target
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Thresholds struct {
				Steps []struct {
					Color string
					Value *float64
				}
			}
		}
	}
}

type target struct {
	RefID        string `json:"refId"`
	Datasource   *source
	RawQuery     bool
	Query        string
	Alias        string
	ResultFormat string
}

type variable struct {
	Name       string
	Type       string
	Datasource *source
	Query      string
	Multi      bool
	IncludeAll bool
	AllValue   string
}

type annotation struct {
	Name       string
	Datasource *source
	Target     struct {
		Query      string
		TextColumn string
		TagsColumn string
	}
}

// boards reads all dashboards.
func boards(t *testing.T) []board {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "dashboards", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("dashboards: %v, %v", files, err)
	}
	var all []board
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b := board{file: filepath.Base(file)}
		if err := json.Unmarshal(raw, &b); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, b)
	}
	return all
}

// readYAML reads a provisioning file, and fails on keys that out does not have.
func readYAML(t *testing.T, name string, out any) {
	t.Helper()
	f, err := os.Open(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dec := yaml.NewDecoder(f)
	dec.KnownFields(true)
	if err := dec.Decode(out); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// choice is a time range and the values of a dashboard's variables.
type choice struct {
	from, to time.Time
	interval time.Duration
	vars     map[string][]string // none of a variable: its "all"
}

// fill puts a choice into a query as Grafana does: variables as regular
// expressions, the time filter as milliseconds.
func (b board) fill(c choice, query string) string {
	for _, v := range b.Templating.List {
		value := v.AllValue
		if chosen := c.vars[v.Name]; len(chosen) > 0 {
			quoted := make([]string, len(chosen))
			for i, s := range chosen {
				quoted[i] = strings.ReplaceAll(regexp.QuoteMeta(s), "/", `\/`)
			}
			value = "(" + strings.Join(quoted, "|") + ")"
		}
		name := regexp.MustCompile(`\$(` + v.Name + `\b|\{` + v.Name + `(:\w+)?\})`)
		query = name.ReplaceAllLiteralString(query, value)
	}
	between := "time >= " + millis(c.from) + " and time <= " + millis(c.to)
	query = strings.ReplaceAll(query, "$timeFilter", between)
	return strings.ReplaceAll(query, "$__interval", fmt.Sprintf("%dms", c.interval.Milliseconds()))
}

func millis(t time.Time) string { return fmt.Sprintf("%dms", t.UnixMilli()) }
