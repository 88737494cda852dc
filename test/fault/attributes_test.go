package fault

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"weir/test/process"
)

const limitRules = `
attributes: [devices.yaml, ../tables/sites.csv]
groups:
  - name: cold
    match: {type: freezer}
    rules:
      - alert: OverItsLimit
        expr: temperature > (limits.max ?? -15)
        labels: {site: "{{ site }}"}
`

// TestAnEditedTableOfDevicesTakesEffect edits tables beside the rules and
// elsewhere, well and badly, while weir runs, and restarts it by kill -9.
func TestAnEditedTableOfDevicesTakesEffect(t *testing.T) {
	const table = "devices:\n  f1: {type: freezer, limits: {max: %v}}\n  f2: {type: oven}\n"
	w := process.New(t, process.Setup{Log: "partitions: 2, min_free: 64MiB", Rules: map[string]string{
		"cold.yaml": limitRules, "devices.yaml": fmt.Sprintf(table, -5),
	}})
	sites := filepath.Join(w.Dir, "tables", "sites.csv")
	if err := os.Mkdir(filepath.Dir(sites), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, sites, "device,site\nf1,oslo\n")
	w.Start(t)
	say := func(device string, temperature float64) {
		t.Helper()
		c := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + w.MQTT).SetClientID("probe"))
		if token := c.Connect(); !token.WaitTimeout(process.Patience) || token.Error() != nil {
			t.Fatalf("connect: %v", token.Error())
		}
		defer c.Disconnect(100)
		text := fmt.Sprintf(`{"temperature": %v, "ts": %d}`, temperature, time.Now().UnixMilli())
		if token := c.Publish("sensors/"+device+"/telemetry", 1, false, text); !token.WaitTimeout(process.Patience) || token.Error() != nil {
			t.Fatalf("publish: %v", token.Error())
		}
	}
	lines := func(text string) int { return len(w.Proc().Out.Lines(text)) }
	reloaded := func() int { return len(w.Log("rules reloaded")) }

	say("f1", -10) // under its limit
	say("f2", 200) // no freezer
	say("f9", 200) // not known
	w.Settled(t)
	if n := lines("alert firing"); n != 0 {
		t.Fatalf("%d alerts fire, want none", n)
	}
	n := reloaded()
	w.WriteRules(t, "devices.yaml", fmt.Sprintf(table, -12))
	process.Eventually(t, "the edited table is in force", func() error { return atLeast(reloaded(), n+1) })
	say("f1", -10)
	process.Eventually(t, "the alert follows the table", func() error { return atLeast(lines("alert firing cold/OverItsLimit device=f1"), 1) })

	refused := len(w.Log("rules were not reloaded"))
	w.WriteRules(t, "devices.yaml", fmt.Sprintf(table, "[1]"))
	process.Eventually(t, "a wrong table is refused", func() error { return atLeast(len(w.Log("rules were not reloaded")), refused+1) })
	if said := strings.Join(w.Log("rules were not reloaded"), "\n"); !strings.Contains(said, "devices.yaml:2:37: limits.max: an attribute is one value, not a list") {
		t.Errorf("the log says\n%s", said)
	}
	w.WriteRules(t, "devices.yaml", fmt.Sprintf(table, -12))
	process.Eventually(t, "the table is right again", func() error { return atLeast(len(w.Log("rules are right again")), 1) })

	w.Kill()
	w.Start(t)
	say("f1", -13)
	process.Eventually(t, "the restarted weir knows the table", func() error { return atLeast(lines("alert resolved cold/OverItsLimit device=f1"), 1) })

	n = reloaded()
	writeFile(t, sites, "device,site\nf1,bergen\n")
	process.Eventually(t, "a table in another folder is noticed", func() error { return atLeast(reloaded(), n+1) })
	say("f1", 0)
	process.Eventually(t, "the alert tells the new site", func() error {
		for _, a := range w.Alerts(t) {
			if a.Key == "f1" && a.Labels["site"] == "bergen" {
				return nil
			}
		}
		return fmt.Errorf("the alerts are %+v", w.Alerts(t))
	})
	w.Settled(t)
	before := len(w.Events(t))
	w.MustCLI(t, "events", "replay", "--consumer", "rules", "--from", "all")
	w.Settled(t)
	if after := len(w.Events(t)); after != before {
		t.Errorf("a replay over the edits of tables added %d records to the log, want none", after-before)
	}
	w.Audit(t)
}
