package alertmanager

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// keepResolved is how long the end of an alert is repeated, as Prometheus does:
// for a member of the cluster that was away when it came.
const keepResolved = 15 * time.Minute

// entry is an alert that Alertmanager is to know. It is immutable.
type entry struct {
	ID          string            `json:"id"` // of the incident
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"starts_at"`
	EndsAt      *time.Time        `json:"ends_at,omitempty"` // nil while it fires
	Until       time.Time         `json:"until,omitzero"`    // when to forget it, once it has ended
	Refused     bool              `json:"refused,omitempty"` // it fires, but Alertmanager won't have it

	print string // of Labels
}

// state is what Alertmanager is to know: one incident for each label set.
type state struct {
	prints map[string]*entry
	ids    map[string]*entry
}

func newState() state {
	return state{map[string]*entry{}, map[string]*entry{}}
}

func (s state) clone() state { return state{maps.Clone(s.prints), maps.Clone(s.ids)} }

// set puts e in the place of its incident and of its label set.
func (s state) set(e *entry) {
	if old := s.ids[e.ID]; old != nil {
		s.drop(old)
	}
	if old := s.prints[e.print]; old != nil {
		s.drop(old)
	}
	s.ids[e.ID], s.prints[e.print] = e, e
}

func (s state) drop(e *entry) {
	if s.ids[e.ID] == e {
		delete(s.ids, e.ID)
	}
	if s.prints[e.print] == e {
		delete(s.prints, e.print)
	}
}

// forget drops what has ended long enough ago.
func (s state) forget(now time.Time) {
	for _, e := range s.prints {
		if e.EndsAt != nil && !now.Before(e.Until) {
			s.drop(e)
		}
	}
}

// sorted returns all entries in one order.
func (s state) sorted() []*entry {
	out := make([]*entry, 0, len(s.prints))
	for _, p := range slices.Sorted(maps.Keys(s.prints)) {
		out = append(out, s.prints[p])
	}
	return out
}

// saved is the state's form beside the cursor.
type saved struct {
	Version int      `json:"version"`
	Alerts  []*entry `json:"alerts"`
}

const savedVersion = 1

func (s state) marshal() ([]byte, error) {
	return json.Marshal(saved{savedVersion, s.sorted()})
}

func parseState(b []byte) (state, error) {
	s := newState()
	if len(b) == 0 {
		return s, nil
	}
	var v saved
	if err := json.Unmarshal(b, &v); err != nil {
		return s, fmt.Errorf("read the alerts that fired: %w", err)
	}
	if v.Version != savedVersion {
		return s, fmt.Errorf("read the alerts that fired: they have version %d, this weir knows %d", v.Version, savedVersion)
	}
	for _, e := range v.Alerts {
		if e == nil || e.ID == "" || len(e.Labels) == 0 {
			return s, fmt.Errorf("read the alerts that fired: one has no id or no labels")
		}
		e.print = print(e.Labels)
		s.set(e)
	}
	return s, nil
}
