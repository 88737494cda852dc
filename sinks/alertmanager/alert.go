package alertmanager

import (
	"maps"
	"slices"
	"strings"
	"time"

	"weir/ingest/event"
)

// wire is an alert as API v2 takes it.
type wire struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// wire returns e as it is sent now. An alert that fires ends four resends
// ahead unless it is repeated, as Prometheus has it. Times that lie ahead of
// now, by a device's clock, are now: Alertmanager would wait for them.
func (e *entry) wire(c *Config, now time.Time) wire {
	w := wire{Labels: e.Labels, Annotations: e.Annotations, StartsAt: earlier(e.StartsAt, now).UTC(), GeneratorURL: c.GeneratorURL}
	if e.EndsAt == nil {
		w.EndsAt = now.Add(4 * c.Resend).UTC()
		return w
	}
	w.EndsAt = earlier(*e.EndsAt, now).UTC()
	if w.EndsAt.Before(w.StartsAt) {
		w.EndsAt = w.StartsAt
	}
	return w
}

func earlier(a, b time.Time) time.Time {
	if a.After(b) {
		return b
	}
	return a
}

// labelsOf returns the labels by which Alertmanager knows an alert: alertname
// and group, what it is about, and the rule's own. A name that Alertmanager
// does not allow has underscores for what it does not; one that is taken gets
// an underscore behind.
func labelsOf(a *event.Alert) map[string]string {
	labels := make(map[string]string, len(a.Labels)+4)
	group, name, both := strings.Cut(a.Rule, "/")
	if !both {
		group, name = "", a.Rule
	}
	put(labels, "alertname", name)
	put(labels, "group", group)
	switch {
	case len(a.By) > 0:
		putAll(labels, a.By)
	case a.Device != "":
		put(labels, "device", a.Device)
	default:
		put(labels, "key", a.Key)
	}
	putAll(labels, a.Labels)
	return labels
}

func annotationsOf(a *event.Alert) map[string]string {
	out := make(map[string]string, len(a.Annotations))
	putAll(out, a.Annotations)
	return out
}

func putAll(to, from map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(from)) {
		put(to, k, from[k])
	}
}

// put adds a pair. An empty value is none, as it is in Alertmanager.
func put(to map[string]string, name, value string) {
	if value == "" {
		return
	}
	name = labelName(name)
	for {
		if _, taken := to[name]; !taken {
			break
		}
		name += "_"
	}
	to[name] = strings.ToValidUTF8(value, "\uFFFD")
}

// labelName returns name as [a-zA-Z_][a-zA-Z0-9_]*, which every version of
// Alertmanager takes.
func labelName(name string) string {
	var b strings.Builder
	for i, r := range name {
		switch {
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_':
			b.WriteRune(r)
		case r >= '0' && r <= '9':
			if i == 0 {
				b.WriteByte('_')
			}
			b.WriteRune(r)
		default:
			b.WriteByte('_')
		}
	}
	if b.Len() == 0 {
		return "_"
	}
	return b.String()
}

// print returns the identity of a label set.
func print(labels map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		b.WriteString(k)
		b.WriteByte(0xff) // in no UTF-8 text
		b.WriteString(labels[k])
		b.WriteByte(0xff)
	}
	return b.String()
}
