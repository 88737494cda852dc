package choice

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"weir/ingest/event"
)

// Choice is which of the alerts that people are told of a sink delivers.
type Choice struct {
	Name string   // of the sink: alerts that a rule sends to it
	All  bool     // every alert, not only those sent here by a rule
	On   []string // the states that Takes looks at: firing, resolved
}

// Default returns the states that are delivered if a config does not say.
func Default() []string { return []string{event.Firing, event.Resolved} }

// Validate reports everything that is wrong with c, naming keys and remedies.
func (c Choice) Validate() error {
	var errs []error
	if c.Name == "" && !c.All {
		errs = append(errs, errors.New("name: missing; without it only all: true can choose alerts"))
	}
	if len(c.On) == 0 {
		errs = append(errs, errors.New("on: empty, so nothing would ever be delivered; e.g. [firing, resolved]"))
	}
	for _, s := range c.On {
		if s != event.Firing && s != event.Resolved {
			errs = append(errs, fmt.Errorf("on: %q is not one of firing, resolved", s))
		}
	}
	return errors.Join(errs...)
}

// Takes reports whether a transition is to be delivered.
func (c Choice) Takes(a *event.Alert) bool { return c.For(a) && slices.Contains(c.On, a.State) }

// For reports whether a transition is for this sink, whatever its state.
func (c Choice) For(a *event.Alert) bool {
	sent := slices.ContainsFunc(a.Actions, func(x event.Action) bool { return x.Send != "" && x.Send == c.Name })
	return a.Told() && (sent || c.All)
}

// Parse reads the payload of an alert's record. The alert holds no memory of it.
func Parse(payload []byte) (*event.Alert, error) {
	a := &event.Alert{}
	if err := json.Unmarshal(payload, a); err != nil {
		return nil, fmt.Errorf("parse the alert: %w", err)
	}
	if a.ID == "" || a.State == "" || a.Rule == "" {
		return nil, errors.New("parse the alert: it has no id, no state or no rule")
	}
	return a, nil
}
