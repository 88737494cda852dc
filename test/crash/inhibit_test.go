package crash

import (
	"fmt"
	"testing"

	paho "github.com/eclipse/paho.mqtt.golang"

	"weir/ingest/event"
	"weir/test/process"
)

const inhibitRules = `
groups:
  - name: sites
    rules:
      - {alert: Down, by: [site], match: {source: plant}, expr: power == 0, clear: power > 0, inhibit: [{rules: [Hot], equal: [site]}]}
      - {alert: Hot, match: {source: plant}, expr: temperature > 30}
  - name: storm
    limit: 3
    rules:
      - {alert: Wet, match: {source: plant}, expr: humidity > 90}
`

// An alert holds back those of other devices, and a group has its limit, whatever
// partitions the devices are in, and also after kill -9.
func TestInhibitionAndLimitsOverPartitionsThroughAKill(t *testing.T) {
	w := process.New(t, process.Setup{Log: "partitions: 3, min_free: 64MiB", Sources: siteSource, Rules: map[string]string{"sites.yaml": inhibitRules}})
	w.Start(t)
	const devices = 9
	var c paho.Client
	say(t, w, &c, "plant/s0/meter", `{"power":0}`)
	for d := range devices {
		if d == devices/2 {
			c.Disconnect(0)
			w.Kill()
			w.Start(t)
		}
		for site := range 2 {
			say(t, w, &c, fmt.Sprintf("plant/s%d/s%dd%d", site, site, d), `{"temperature":40}`)
		}
		say(t, w, &c, fmt.Sprintf("plant/s2/s2d%d", d), `{"humidity":95}`)
	}
	var all []event.Alert
	process.Eventually(t, "all alerts fire", func() error {
		if all = process.AlertFacts(t, w.Events(t)); len(all) < 3*devices+2 { // Down, and that Wet is over its limit
			return fmt.Errorf("%d do, want %d", len(all), 3*devices+2)
		}
		return nil
	})
	why := map[string]int{}
	for _, a := range all {
		site := a.Key[:2]
		why[a.Rule+" "+site+" "+a.Suppressed]++
	}
	for what, want := range map[string]int{
		"sites/Down s0 ": 1, "sites/Hot s0 inhibited": devices, "sites/Hot s1 ": devices, "storm/Wet s2 ": 3, "storm/Wet s2 limit": devices - 3, "storm/limit al ": 1,
	} {
		if why[what] != want {
			t.Errorf("%q: %d, want %d; there are %v", what, why[what], want, why)
		}
	}
	w.Audit(t)
}
