package devices

import "time"

// Device is what the registry knows of one device, as it is served as JSON.
// All times are UTC.
type Device struct {
	ID          string `json:"id"`
	Source      string `json:"source,omitempty"`      // of the last event
	Measurement string `json:"measurement,omitempty"` // of the last event

	FirstSeen     time.Time `json:"first_seen"`      // when its first event was received
	LastSeen      time.Time `json:"last_seen"`       // when its last event was received
	LastEventTime time.Time `json:"last_event_time"` // what the last event says its time is

	Online       bool      `json:"online"`
	OfflineSince time.Time `json:"offline_since,omitzero"` // last seen plus Config.OfflineAfter; zero while online

	Events uint64            `json:"events"` // how many events it has sent
	Tags   map[string]string `json:"tags,omitempty"`

	// Last holds the fields of the event that arrived last: nil, float64, int64,
	// uint64, bool or string.
	Last map[string]any `json:"last,omitempty"`
	// Reported holds the newest value of every field the device has sent: the
	// reported side of its twin.
	Reported map[string]Reported `json:"reported,omitempty"`
	// Truncated says that the device sent more fields than are kept of one, or
	// fields whose names are too long to be kept.
	Truncated bool `json:"truncated,omitempty"`
}

// Reported is the newest value of a field.
type Reported struct {
	Value any       `json:"value"` // nil, float64, int64, uint64, bool or string
	Time  time.Time `json:"time"`  // event time, or the receive time where the device's clock is wrong
}

// Query selects devices. The zero Query selects the first DefaultLimit ones.
type Query struct {
	Prefix string // of the device id
	Source string // "" for every source
	Online *bool  // nil for both
	Limit  int    // 0 for DefaultLimit; at most MaxLimit
	After  string // the last id of the page before; "" for the first page
}

// The sizes of a page of a list.
const (
	DefaultLimit = 100
	MaxLimit     = 10_000
)

// Page is a part of the list of devices, in the order of their ids.
type Page struct {
	Devices []Device `json:"devices"`
	Next    string   `json:"next,omitempty"` // Query.After of the next page; "" after the last
}

// merge returns what two partitions know of one device together. A device is in
// two partitions when its id comes from the payload and it publishes to topics
// of both.
func merge(a, b Device) Device {
	if b.LastSeen.After(a.LastSeen) {
		a, b = b, a
	}
	if b.FirstSeen.Before(a.FirstSeen) {
		a.FirstSeen = b.FirstSeen
	}
	a.Online = a.Online || b.Online
	if a.Online {
		a.OfflineSince = time.Time{}
	}
	a.Events += b.Events
	a.Truncated = a.Truncated || b.Truncated
	for name, r := range b.Reported {
		if have, ok := a.Reported[name]; !ok || r.Time.After(have.Time) {
			a.Reported[name] = r
		}
	}
	return a
}

// at returns the time of ns nanoseconds since the Unix epoch.
func at(ns int64) time.Time { return time.Unix(0, ns).UTC() }
