package webhook

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"weir/ingest/event"
)

// letter is one alert to deliver.
type letter struct {
	batch   int
	message uint32
	at      event.Position
	alert   *event.Alert
	payload []byte // the alert's JSON as it is in the log
	record  string // the id of its record in the log
}

// id is the identity of a transition: the same for each delivery of it. What is
// told again, by a Notice, is no delivery of the same: it has the id of its
// record.
func (l *letter) id() string {
	id := l.alert.ID + "/" + l.alert.State
	switch {
	case l.alert.Notice == "":
		return id
	case l.record != "":
		return l.record
	}
	return fmt.Sprintf("%s/%s/%d/%d/%d", id, l.alert.Notice, l.at.Partition, l.at.Seq, l.at.Message)
}

// cloudEvent is a CloudEvent in structured mode but for its data.
type cloudEvent struct {
	SpecVersion     string `json:"specversion"`
	ID              string `json:"id"`
	Source          string `json:"source"`
	Type            string `json:"type"`
	Subject         string `json:"subject,omitempty"`
	Time            string `json:"time"`
	DataContentType string `json:"datacontenttype"`
}

// body returns the request's body. The alert's JSON is put in as it is, so that
// receivers see the bytes that the log has and MQTT subscribers get.
func (l *letter) body(source string) ([]byte, error) {
	at := l.alert.StartsAt
	if l.alert.State == event.Resolved && l.alert.EndsAt != nil {
		at = *l.alert.EndsAt
	}
	subject := l.alert.Key
	if subject == "" {
		subject = l.alert.Device
	}
	head, err := json.Marshal(cloudEvent{
		SpecVersion: "1.0", ID: l.id(), Source: source + "/rules/" + escapePath(l.alert.Rule),
		Type: "weir.alert." + l.alert.State, Subject: subject, Time: at.UTC().Format(time.RFC3339Nano),
		DataContentType: "application/json",
	})
	if err != nil {
		return nil, fmt.Errorf("encode the cloud event: %w", err)
	}
	b := make([]byte, 0, len(head)+len(l.payload)+16)
	b = append(b, head[:len(head)-1]...)
	b = append(b, `,"data":`...)
	b = append(b, l.payload...)
	return append(b, '}'), nil
}

// escapePath makes group/name part of a URI reference.
func escapePath(rule string) string {
	parts := strings.Split(rule, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}
