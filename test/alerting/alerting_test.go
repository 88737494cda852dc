package alerting

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"weir/test/alertmanagerd"
	"weir/test/maild"
	"weir/test/process"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

const rules = `
groups:
  - name: cold-room
    labels: {team: plant}
    rules:
      - alert: FreezerWarm
        expr: temperature > -15
        labels: {severity: page}
        annotations: {summary: "{{ device }} is at {{ temperature }} °C"}
        actions:
          - send: am
          - send: mail
      - alert: DoorOpen
        expr: door == "open"
`

// sinks of a plant: what a rule sends to them, and a second mail for everything.
const sinks = `
  - name: am
    retry: {max: 500ms}
    alertmanager: {url: %q, resend: 2s}
  - name: mail
    retry: {max: 500ms}
    email: {url: %q, ca: %q, username: weir, password: correct-horse, from: weir@plant.example, to: [oncall@plant.example]}
  - name: all-mail
    retry: {max: 500ms}
    email: {url: %q, ca: %q, username: weir, password: correct-horse, from: weir@plant.example, to: [book@plant.example], all: true, on: [firing], subject: "{{ .Rule }} {{ .Device }}"}
`

// say publishes a reading and returns when it is acknowledged.
func say(t *testing.T, w *process.Weir, device, payload string) {
	t.Helper()
	c := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + w.MQTT).SetClientID("test-" + device).SetAutoReconnect(false))
	for _, do := range []func() paho.Token{c.Connect, func() paho.Token { return c.Publish("sensors/"+device+"/telemetry", 1, false, payload) }} {
		if token := do(); !token.WaitTimeout(process.Patience) || token.Error() != nil {
			t.Fatalf("publish %s: %v", payload, token.Error())
		}
	}
	c.Disconnect(100)
}

// fires waits until the Alertmanager has exactly these devices' alerts.
func fires(t *testing.T, am *alertmanagerd.Server, devices ...string) {
	t.Helper()
	process.Eventually(t, fmt.Sprintf("Alertmanager has %v", devices), func() error {
		alerts := am.Alerts(t)
		for _, d := range devices {
			found := false
			for _, a := range alerts {
				found = found || a.Labels["device"] == d
			}
			if !found {
				return fmt.Errorf("it has not %s, but %v", d, alerts)
			}
		}
		if len(alerts) != len(devices) {
			return fmt.Errorf("it has %v", alerts)
		}
		return nil
	})
}

// mailed waits for n mails with a text in their subject, and returns the last.
func mailed(t *testing.T, srv *maild.Server, subject string, n int) (last maild.Mail) {
	t.Helper()
	process.Eventually(t, fmt.Sprintf("%d mails with %q", n, subject), func() error {
		var all []string
		got := 0
		for _, m := range srv.Mails() {
			all = append(all, m.Subject())
			if strings.Contains(m.Subject(), subject) {
				got++
				last = m
			}
		}
		if got != n {
			return fmt.Errorf("the server has %q", all)
		}
		return nil
	})
	return last
}

func TestAlertsReachAlertmanagerAndTheMailbox(t *testing.T) {
	am, mail := alertmanagerd.Start(t), maild.Start(t, maild.StartTLS(), maild.WithAuth())
	ca := mail.CAFile(t)
	w := process.New(t, process.Setup{Rules: map[string]string{"r.yaml": rules}, Sinks: fmt.Sprintf(sinks, am.URL(), mail.URL(), ca, mail.URL(), ca)})
	w.Start(t)

	say(t, w, "f1", `{"temperature": -11.5}`)
	fires(t, am, "f1")
	a := am.Alerts(t)[0]
	if got := fmt.Sprint(a.Labels, a.Annotations); got != "map[alertname:FreezerWarm device:f1 group:cold-room severity:page team:plant] map[summary:f1 is at -11.5 °C]" {
		t.Errorf("Alertmanager has %s", got)
	}
	first := mailed(t, mail, "[firing] FreezerWarm f1: f1 is at -11.5 °C", 1)
	if !first.TLS || first.User != maild.User || first.To[0] != "oncall@plant.example" {
		t.Errorf("the mail came as %+v", first)
	}
	say(t, w, "f1", `{"temperature": -18, "door": "open"}`)
	fires(t, am)
	if last := mailed(t, mail, "[resolved] FreezerWarm f1", 1); last.Header.Get("In-Reply-To") != first.Header.Get("Message-Id") {
		t.Errorf("the mail of the end answers %q, want %q", last.Header.Get("In-Reply-To"), first.Header.Get("Message-Id"))
	}
	mailed(t, mail, "cold-room/DoorOpen f1", 1) // which no rule sends anywhere
	if m := mailed(t, mail, "cold-room/FreezerWarm f1", 1); m.To[0] != "book@plant.example" {
		t.Errorf("mailed to %v", m.To)
	}

	for _, sink := range []string{"am", "mail"} { // a moment after the far side knows
		process.Eventually(t, sink+" has delivered 2", func() error {
			if n, err := w.Metric("weir_sink_delivered_total", `sink="`+sink+`"`); err != nil || n != 2 {
				return fmt.Errorf("%v, %v", n, err)
			}
			return nil
		})
	}

	// An outage of both: the log keeps what happens meanwhile.
	am.Stop(t)
	mail.Stop()
	say(t, w, "f2", `{"temperature": 1}`)
	say(t, w, "f3", `{"temperature": 2}`)
	say(t, w, "f3", `{"temperature": -20}`)
	process.Eventually(t, "both sinks try again", func() error {
		for _, s := range []string{"am", "mail"} {
			if n, err := w.Metric("weir_consumer_retrying", `consumer="`+s+`"`); err != nil || n != 1 {
				return fmt.Errorf("%s: %v, %v", s, n, err)
			}
		}
		return nil
	})
	am.Restart(t)
	mail.Restart(t)
	fires(t, am, "f2")
	mailed(t, mail, "[firing] FreezerWarm f2", 1)
	mailed(t, mail, "[resolved] FreezerWarm f3", 1)

	// A kill -9 of weir, and an Alertmanager that has forgotten: what fires is
	// sent again, though nothing happens any more.
	before := mailed(t, mail, "[firing] FreezerWarm f2", 1)
	w.Saved(t) // the transition is behind the sink's cursor
	w.Kill()
	am.Stop(t)
	am.Restart(t)
	fires(t, am)
	w.Start(t)
	fires(t, am, "f2")
	for range 3 { // and goes on to be, for longer than Alertmanager believes one message
		time.Sleep(3 * time.Second)
		fires(t, am, "f2")
	}
	say(t, w, "f2", `{"temperature": -20}`)
	fires(t, am)
	if last := mailed(t, mail, "[resolved] FreezerWarm f2", 1); last.Header.Get("In-Reply-To") != before.Header.Get("Message-Id") {
		t.Errorf("after the restart the mail of the end answers %q, want %q", last.Header.Get("In-Reply-To"), before.Header.Get("Message-Id"))
	}
	w.Stop(t)
	if out := w.Proc().Out.String(); !strings.Contains(out, "alert resolved cold-room/FreezerWarm device=f2 severity=page team=plant value=-20 ") {
		t.Errorf("weir printed\n%s", out)
	}
}
