package crash

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"weir/ingest/event"
	"weir/test/process"
)

const siteRules = `
groups:
  - name: sites
    rules:
      - {record: warmth, by: [site], match: {source: plant}, expr: temperature}
      - {alert: Hot, by: [site], match: {source: plant}, expr: temperature > 30, clear: temperature < 10}
      - {alert: Read, by: [site], match: {measurement: warmth}, expr: value > 30, clear: value < 10}
      - {alert: Sum, by: [site], match: {source: plant}, expr: 'count_over_time(temperature, "1h") >= 20'}
`

const siteSource = `
  - name: plant
    topic: "plant/{site}/{device}"
    format: json
    tags: [site]
`

// say publishes and waits for the acknowledgement, through kills.
func say(t *testing.T, w *process.Weir, c *paho.Client, topic, payload string) {
	t.Helper()
	process.Eventually(t, "a message is acknowledged", func() error {
		if *c == nil || !(*c).IsConnectionOpen() {
			*c = paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + w.MQTT).SetClientID("plant").SetAutoReconnect(false).SetConnectTimeout(5 * time.Second))
			if token := (*c).Connect(); !token.WaitTimeout(5*time.Second) || token.Error() != nil {
				return fmt.Errorf("connect: %v", token.Error())
			}
		}
		token := (*c).Publish(topic, 1, false, payload)
		if !token.WaitTimeout(5 * time.Second) {
			return fmt.Errorf("no acknowledgement")
		}
		return token.Error()
	})
}

// Rules that group devices see the events of all partitions in one order, and
// derive each fact once, whenever weir is killed.
func TestGroupsOverPartitionsThroughKills(t *testing.T) {
	rnd := seed(t)
	w := process.New(t, process.Setup{Log: "partitions: 3, min_free: 64MiB", Sources: siteSource, Rules: map[string]string{"sites.yaml": siteRules}})
	w.Start(t)
	const sites, cycles, devices = 2, 12, 9
	var c paho.Client
	for cycle := range cycles {
		for _, temperature := range []int{40, 5} { // hot as one device says, cold as another does
			for site := range sites {
				say(t, w, &c, fmt.Sprintf("plant/s%d/s%dd%d", site, site, rnd.IntN(devices)), fmt.Sprintf(`{"temperature":%d}`, temperature))
			}
		}
		if cycle%4 == 2 {
			time.Sleep(time.Duration(rnd.IntN(2500)) * time.Millisecond) // what was derived last may be durable or not, taken or not
			c.Disconnect(0)
			w.Kill()
			if rnd.IntN(2) == 0 {
				w.Audit(t)
			}
			w.Start(t)
		}
	}
	facts := func() (out []event.Alert) {
		for _, l := range w.Events(t) {
			if l.Kind == "alert" && l.Position.Partition != 0 {
				t.Errorf("the alert at %v is not in partition 0", l.Position)
			}
		}
		return process.AlertFacts(t, w.Events(t))
	}
	process.Eventually(t, "the last alerts are resolved", func() error {
		resolved := 0
		for _, a := range facts() {
			if a.State == event.Resolved {
				resolved++
			}
		}
		if want := 2 * sites * cycles; resolved < want {
			return fmt.Errorf("%d are, want %d", resolved, want)
		}
		return nil
	})
	w.Settled(t)
	w.Audit(t)

	all := facts()
	states := map[string][]string{}
	ids := map[string]int{}
	for _, a := range all {
		name := a.Rule + " " + a.Key
		states[name] = append(states[name], a.State)
		ids[a.ID+" "+a.State]++
		if a.By["site"] != a.Key {
			t.Errorf("alert %s is by %v", name, a.By)
		}
	}
	for id, n := range ids {
		if n != 1 {
			t.Errorf("transition %s is in the log %d times", id, n)
		}
	}
	alternate := strings.Fields(strings.Repeat(event.Firing+" "+event.Resolved+" ", cycles))
	for site := range sites {
		for _, rule := range []string{"Hot", "Read"} {
			if got := states[fmt.Sprintf("sites/%s s%d", rule, site)]; !slices.Equal(got, alternate) {
				t.Errorf("%s of s%d: %v, want %d times firing and resolved", rule, site, got, cycles)
			}
		}
		if got := states[fmt.Sprintf("sites/Sum s%d", site)]; !slices.Equal(got, []string{event.Firing}) {
			t.Errorf("Sum of s%d: %v, want firing, once all partitions together have 20 events", site, got)
		}
	}
	held := map[uint16]int{}
	for _, l := range w.Events(t) {
		if l.Kind == "message" {
			held[l.Position.Partition]++
		}
	}
	if len(held) != 3 {
		t.Errorf("the messages are in partitions %v: the test needs all", held)
	}

	before := len(w.Events(t))
	active := len(w.Alerts(t))
	if _, talk, status := w.CLI(t, "events", "replay", "--consumer", "rules-groups", "--from", "0/1"); status == 0 || !strings.Contains(talk, "all partitions together") {
		t.Errorf("replay of grouped rules from a position in one partition: status %d, %s", status, talk)
	}
	w.MustCLI(t, "events", "replay", "--consumer", "rules-groups", "--from", "all")
	w.Settled(t)
	if n := len(w.Events(t)) - before; n != 0 {
		t.Errorf("a replay of the log added %d records to it, want none", n)
	}
	if n := len(w.Alerts(t)); n != active {
		t.Errorf("%d alerts are active after a replay, %d before", n, active)
	}
	w.Audit(t)
	w.Stop(t)
	if lines := w.Log("some consumers are behind"); len(lines) > 0 {
		t.Error(lines)
	}
}
