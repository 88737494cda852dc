package decode

import (
	"fmt"

	"weir/ingest/event"
)

// Explanation is what a payload becomes, and by which source.
type Explanation struct {
	Source string        // name of the source that takes the topic
	Key    string        // of the partition
	Events []event.Event // they and their strings are the caller's to keep
	Reason string        // why there is no event though nothing is wrong; else ""
}

// Explain decodes one publish on its own. The error says why it is rejected,
// or that no source takes the topic; Source and Key are set as far as known.
func (s *Set) Explain(topic string, payload []byte, received int64) (Explanation, error) {
	b := event.NewBatch(nil)
	b.Messages = append(b.Messages, event.Message{Topic: topic, Payload: payload, Received: received})
	var out Explanation
	if r, ok := s.Route(topic); ok {
		out.Source, out.Key = s.sources[r.Source].name, r.Key
	}
	d := s.NewDecoder()
	d.b, d.m = b, 0
	if out.Source == "" {
		if t := d.topic(topic); t.ignored {
			out.Reason = string(isIgnored)
			return out, nil
		}
		return out, fmt.Errorf("no source takes the topic %q; add one whose topic template stands for it", topic)
	}
	why, err := d.message(&b.Messages[0])
	if err != nil {
		return out, err
	}
	out.Events, out.Reason = b.Events, string(why)
	return out, nil
}
