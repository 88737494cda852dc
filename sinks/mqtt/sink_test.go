package mqtt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/simulator/brokertest"
	"weir/sinks/sinktest"
)

// distinct is the number of different messages that reached the broker.
func distinct(b *brokertest.Broker) int {
	seen := map[string]bool{}
	for _, m := range b.Messages() {
		seen[m.Topic+" "+m.Payload] = true
	}
	return len(seen)
}

func newSink(t *testing.T, url string, change ...func(*Config)) *Sink {
	t.Helper()
	cfg := Default()
	cfg.Name, cfg.URL, cfg.Events, cfg.Alerts = "ext", url, true, true
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestConformanceOfSink(t *testing.T) {
	for qos := range byte(3) {
		if qos == 0 {
			continue // nothing is acknowledged: it can't keep what the suite asks for
		}
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) *sinktest.Target {
				b := brokertest.Start(t)
				s := newSink(t, b.URL(), func(c *Config) { c.QoS = qos })
				return &sinktest.Target{
					Sink: s, Events: true, Alerts: true, Name: "ext", Effects: func() int { return distinct(b) },
					Outage: func(down bool) {
						if down {
							b.Stop()
						} else {
							b.Start()
						}
					},
				}
			})
		})
	}
}

func TestABrokerThatHangsDoesNotHoldACallLongerThanItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts by the kernel, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := newSink(t, "mqtt://"+l.Addr().String(), func(c *Config) { c.Timeout = time.Hour })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	done := make(chan error)
	go func() {
		_, err := s.Handle(ctx, []*event.Batch{sinktest.NewBatch(1, sinktest.Start()).Reading("d", "v", event.FloatValue(1)).Batch()})
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the call did not end with its context")
	}
}

func TestOneMessageThatTheBrokerWontHaveHarmsOnlyItself(t *testing.T) {
	b := brokertest.Start(t)
	b.Poison("poison/")
	s := newSink(t, b.URL(), func(c *Config) { c.EventTopic = "{kind}/{device}" })
	bb := sinktest.NewBatch(1, sinktest.Start())
	for i := range 50 {
		kind := "good"
		if i == 20 {
			kind = "poison"
		}
		bb.Event(event.Event{Measurement: "m", Device: fmt.Sprintf("d%d", i), Tags: []event.Tag{{Key: "kind", Value: kind}},
			Fields: []event.Field{{Name: "v", Value: event.FloatValue(1)}}})
	}
	batches := []*event.Batch{bb.Batch()}
	var me *event.MessageError
	if _, err := s.Handle(t.Context(), batches); !errors.As(err, &me) || me.Message != 20 || me.Batch != 0 {
		t.Fatalf("error %v, want a *event.MessageError about message 20", err)
	}
	batches[0].Messages[20].Record = event.Tick // as the runner does with what it has given up
	if out, err := s.Handle(t.Context(), batches); err != nil || out.Filtered != 1 {
		t.Fatalf("without it: %+v, %v", out, err)
	}
	if n := distinct(b); n != 49 {
		t.Errorf("distinct messages at the broker = %d, want 49", n)
	}
}

func TestAnEventIsPublishedAsJSON(t *testing.T) {
	b := brokertest.Start(t)
	s := newSink(t, b.URL(), func(c *Config) { c.EventTopic, c.Retain = "out/{site}/{device}", true })
	bb := sinktest.NewBatch(7, sinktest.Start()).Reject().Event(event.Event{
		Source: "plant", Measurement: "telemetry", Device: "a/b+#", Time: 1_700_000_000_000_000_001, Tags: []event.Tag{{Key: "site", Value: "Ø 1"}},
		Fields: []event.Field{{Name: "t", Value: event.FloatLiteral(21.5, "21.50")}, {Name: "big", Value: event.UintValue(math.MaxUint64)},
			{Name: "nan", Value: event.FloatValue(math.NaN())}, {Name: "s", Value: event.StringValue("<&>")}, {Name: "on", Value: event.BoolValue(true)}},
	}).Reading("no-site", "v", event.FloatValue(1))
	out, err := s.Handle(t.Context(), []*event.Batch{bb.Batch()})
	if err != nil || out.Filtered != 1 || len(out.Dead) != 1 || !strings.Contains(out.Dead[0].Err.Error(), "{site}") {
		t.Fatalf("%+v, %v; want one dead as it has no {site}", out, err)
	}
	received := time.Unix(0, bb.Batch().Messages[1].Received).UTC().Format(time.RFC3339Nano)
	want := `out/Ø 1/a%2Fb%2B%23 {"position":"0/7/1/0","time":"2023-11-14T22:13:20.000000001Z","received":"` + received +
		`","source":"plant","measurement":"telemetry","device":"a/b+#","tags":{"site":"Ø 1"},"fields":{"big":18446744073709551615,"nan":null,"on":true,"s":"<&>","t":21.50}}`
	got := b.Messages()
	if len(got) != 1 || got[0].Topic+" "+got[0].Payload != want {
		t.Fatalf("\n got %v\nwant %s", got, want)
	}
	if !got[0].Retain || got[0].QoS != 1 {
		t.Errorf("retain %v, QoS %d", got[0].Retain, got[0].QoS)
	}
}

// published is what a Publisher was asked for.
type published struct {
	Topic, Payload string
	QoS            byte
	Retain         bool
}

type publisher struct {
	mu   sync.Mutex
	got  []published
	down bool
}

func (p *publisher) Publish(ctx context.Context, topic string, payload []byte, qos byte, retain bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return errors.New("the broker is closed")
	}
	p.got = append(p.got, published{topic, string(payload), qos, retain})
	return ctx.Err()
}

func TestConformanceOfActions(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) *sinktest.Target {
		p := &publisher{}
		return &sinktest.Target{
			Sink: NewActions(p), Alerts: true,
			Effects: func() int {
				p.mu.Lock()
				defer p.mu.Unlock()
				distinct := map[published]bool{}
				for _, x := range p.got {
					distinct[x] = true
				}
				return len(distinct)
			},
			Outage: func(down bool) {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.down = down
			},
		}
	})
}

func TestActionsPublishTheAlertAndWhatItCauses(t *testing.T) {
	p := &publisher{}
	a := sinktest.Alert(1)
	a.Rule, a.Key = "cold room/Warm", "f3/+#"
	a.Actions = []event.Action{
		{MQTT: &event.MQTTAction{Topic: "plant/north/siren", Payload: "ON", QoS: 2, Retain: true}}, {Send: "ops"},
		{MQTT: &event.MQTTAction{Topic: "plant/+/siren", Payload: "ON"}}, {MQTT: &event.MQTTAction{Topic: "plant/lamp", Payload: ""}},
	}
	end := sinktest.Resolved(a)
	end.Actions = nil
	b := sinktest.NewBatch(1, sinktest.Start()).Alert(t, a).Alert(t, end).Batch()
	b.Messages[1].Topic = "weir/alerts/as/recorded/x"
	out, err := NewActions(p).Handle(t.Context(), []*event.Batch{b})
	if err != nil || len(out.Dead) != 1 || out.Dead[0].Message != 0 || !strings.Contains(out.Dead[0].Err.Error(), "plant/+/siren") {
		t.Errorf("%+v, %v; want the first dead for its wildcard topic", out, err)
	}
	want := []published{
		{"weir/alerts/cold room/Warm/f3%2F%2B%23", string(b.Messages[0].Payload), 1, true},
		{"plant/north/siren", "ON", 2, true}, {"plant/lamp", "", 0, false},
		{"weir/alerts/as/recorded/x", string(b.Messages[1].Payload), 1, true},
	}
	if !reflect.DeepEqual(p.got, want) {
		t.Errorf("\n got %v\nwant %v", p.got, want)
	}
	var last event.Alert
	if json.Unmarshal([]byte(p.got[3].Payload), &last); last.State != event.Resolved {
		t.Errorf("the retained message of a resolved alert says %q", last.State)
	}
}

func TestWhatNobodyIsToldOf(t *testing.T) {
	silent, shadow := sinktest.Alert(1, "ext"), sinktest.Alert(2, "ext")
	silent.Suppressed, shadow.Suppressed = event.SuppressedSilence, event.SuppressedShadow
	act := event.Action{MQTT: &event.MQTTAction{Topic: "plant/siren", Payload: "ON"}}
	silent.Actions, shadow.Actions = append(silent.Actions, act), append(shadow.Actions, act) // which no rule engine writes
	batches := []*event.Batch{sinktest.NewBatch(1, sinktest.Start()).Alert(t, silent).Alert(t, shadow).Batch()}

	p := &publisher{}
	out, err := NewActions(p).Handle(t.Context(), batches)
	if err != nil || out.Filtered != 1 || len(p.got) != 1 || p.got[0].Topic != "weir/alerts/cold-room/FreezerWarm/f1" {
		t.Errorf("published %v (%+v, %v), want the state of the one that is silenced", p.got, out, err)
	}

	b := brokertest.Start(t)
	s := newSink(t, b.URL(), func(c *Config) { c.AllAlerts = true })
	if out, err := s.Handle(t.Context(), batches); err != nil || out.Filtered != 2 || distinct(b) != 0 {
		t.Errorf("another broker got %d messages (%+v, %v), want none", distinct(b), out, err)
	}
}

func TestTopicTemplates(t *testing.T) {
	e := &event.Event{Device: "d/1", Measurement: "m", Source: "s", Tags: []event.Tag{{Key: "site", Value: "a%b\x00"}}}
	for _, tt := range []struct{ template, want, err string }{
		{"a/{device}/{measurement}-{source}", "a/d%2F1/m-s", ""}, {"{site}", "a%25b%00", ""}, {"plain", "plain", ""},
		{"{nothing}", "", "{nothing}"}, {"a/{device", "", "needs a name and a }"}, {"a}/b", "", "without its {"}, {"{}", "", "needs a name"},
		{"a/+/{device}", "", "filter"}, {"$SYS/{device}", "", "begins with $"}, {"", "", "empty"},
	} {
		tpl, err := parseTemplate(tt.template)
		var got string
		if err == nil {
			got, err = tpl.fill(eventName(e))
		}
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %q, %v; want %q, error with %q", tt.template, got, err, tt.want, tt.err)
		}
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"url: missing": func(c *Config) { c.URL = "" }, "scheme \"http\"": func(c *Config) { c.URL = "http://x" }, "holds a user name": func(c *Config) { c.URL = "mqtt://a:b@x" },
		"neither is set": func(c *Config) { c.Events, c.Alerts = false, false }, "event_topic": func(c *Config) { c.EventTopic = "#" }, "alert_topic": func(c *Config) { c.AlertTopic = "{" },
		"qos: 3": func(c *Config) { c.QoS = 3 }, "password": func(c *Config) { c.Password = "x" }, "timeout": func(c *Config) { c.Timeout = 0 }, "window": func(c *Config) { c.Window = 0 },
		"name: missing": func(c *Config) { c.Name = "" },
	} {
		c := Default()
		c.Name, c.URL, c.Events, c.Alerts = "ext", "mqtt://127.0.0.1", true, true
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
