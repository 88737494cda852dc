package alertmanager

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/sinks/sinktest"
	"weir/test/alertmanagerd"
)

// eventually waits until f says that it is so.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so after a minute: %v", what, err)
		}
	}
}

// fires waits until the alerts of these devices, and no others, fire there.
func fires(t *testing.T, am *alertmanagerd.Server, devices ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("Alertmanager has %v", devices), func() error {
		got := []string{}
		for _, a := range am.Alerts(t) {
			got = append(got, a.Labels["device"])
		}
		slices.Sort(got)
		if !slices.Equal(got, devices) {
			return fmt.Errorf("it has %v", got)
		}
		return nil
	})
}

// told waits until the receiver of the Alertmanager was told.
func told(t *testing.T, am *alertmanagerd.Server, status, device string) alertmanagerd.Notification {
	t.Helper()
	var found alertmanagerd.Notification
	eventually(t, status+" "+device+" is told", func() error {
		for _, n := range am.Told() {
			if n.Status == status && n.Labels["device"] == device {
				found = n
				return nil
			}
		}
		return fmt.Errorf("told are %+v", am.Told())
	})
	return found
}

func TestARealAlertmanagerTellsOfTheBeginningAndTheEnd(t *testing.T) {
	am, l := alertmanagerd.Start(t), &log{t: t}
	p := newSink(t, nil, []string{am.URL()}).Partition(0)
	a := sinktest.Alert(1, "am") // it began an hour ago, by the time of its events
	a.Labels["ort"], a.Annotations["ärger"] = "Kühlraum \"1\"\n", ""
	handle(t, p, l.batch(a, sinktest.Alert(2, "am")))
	fires(t, am, "f1", "f2")
	n := told(t, am, "firing", "f1")
	if !n.StartsAt.Equal(a.StartsAt) || n.Labels["ort"] != "Kühlraum \"1\"\n" || n.Labels["alertname"] != "FreezerWarm" {
		t.Errorf("told %+v", n)
	}
	end := sinktest.Resolved(a) // long past too
	handle(t, p, l.batch(end))
	fires(t, am, "f2")
	if n := told(t, am, "resolved", "f1"); !n.EndsAt.Equal(*end.EndsAt) {
		t.Errorf("the end is told as %v, want %v", n.EndsAt, *end.EndsAt)
	}
}

func TestAnAlertThatEndsAgainAndAgainIsToldEachTime(t *testing.T) {
	am, l := alertmanagerd.Start(t), &log{t: t}
	p := newSink(t, nil, []string{am.URL()}).Partition(0)
	at := time.Now().Add(-time.Hour).UTC().Truncate(time.Second) // Alertmanager answers in milliseconds
	for i := range 3 {
		a := sinktest.Alert(1, "am")
		a.ID, a.StartsAt = fmt.Sprint("incident-", i), at.Add(time.Duration(i)*10*time.Minute)
		handle(t, p, l.batch(a))
		fires(t, am, "f1")
		if got := am.Alerts(t)[0].StartsAt; !got.Equal(a.StartsAt) {
			t.Errorf("incident %d began at %v, want %v", i, got, a.StartsAt)
		}
		handle(t, p, l.batch(sinktest.Resolved(a)))
		fires(t, am)
	}
}

func TestARealAlertmanagerThatForgetsIsToldAgain(t *testing.T) {
	am, c, l := alertmanagerd.Start(t), &clock{at: time.Now()}, &log{t: t}
	p := newSink(t, c, []string{am.URL()}, func(c *Config) { c.Resend = time.Minute }).Partition(0)
	a, b := sinktest.Alert(1, "am"), sinktest.Alert(2, "am")
	handle(t, p, l.batch(a, b))
	told(t, am, "firing", "f2")
	am.Remembered(t)
	am.Stop(t)
	c.add(2 * time.Minute)
	var re *event.RetryError
	batch := l.batch(sinktest.Resolved(b))
	if _, err := p.Handle(t.Context(), batch); !errors.As(err, &re) {
		t.Fatalf("error %v, want a *event.RetryError", err)
	}
	am.Restart(t)
	c.add(time.Since(c.now()) + time.Minute) // so that everything is due again
	handle(t, p, batch)
	fires(t, am, "f1")
	told(t, am, "resolved", "f2") // though this process never saw it fire

	saved, err := p.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	again := newSink(t, nil, []string{am.URL()}, func(c *Config) { c.Resend = time.Minute }).Partition(0)
	if err := again.Restore(saved); err != nil {
		t.Fatal(err)
	}
	am.Stop(t)
	am.Restart(t)
	fires(t, am)
	handle(t, again, l.batch())
	fires(t, am, "f1")
}

func TestWithoutWeirARealAlertmanagerEndsItsAlerts(t *testing.T) {
	am, l := alertmanagerd.Start(t), &log{t: t}
	p := newSink(t, nil, []string{am.URL()}, func(c *Config) { c.Resend = time.Second }).Partition(0)
	start := time.Now()
	handle(t, p, l.batch(sinktest.Alert(1, "am")))
	told(t, am, "firing", "f1")
	told(t, am, "resolved", "f1")
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("it ended after %v, want about 4 s", took)
	}
}

func TestARealAlertmanagerRefusesOneAlert(t *testing.T) {
	am, l := alertmanagerd.Start(t), &log{t: t}
	s := newSink(t, nil, []string{am.URL()})
	// No alert that weir makes is one that Alertmanager refuses, as far as is
	// known; so a label is spoilt on the way.
	s.http.Transport = spoil{s.http.Transport}
	b := l.batch(sinktest.Alert(1, "am"), sinktest.Alert(2, "am"), sinktest.Alert(3, "am"))
	out := handle(t, s.Partition(0), b)
	if len(out.Dead) != 1 || out.Dead[0].Message != 1 || !strings.Contains(out.Dead[0].Err.Error(), "400 Bad Request") {
		t.Errorf("%+v", out)
	}
	fires(t, am, "f1", "f3")
}

// spoil gives f2 a label without a name.
type spoil struct{ http.RoundTripper }

func (s spoil) RoundTrip(r *http.Request) (*http.Response, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(bytes.ReplaceAll(b, []byte(`"device":"f2"`), []byte(`"":      "f2"`)))) // as long as before
	return s.RoundTripper.RoundTrip(r)
}
