package firmware

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// command is what arrives on the command topic.
type command struct {
	ID   string          `json:"id"`
	Name string          `json:"name"`
	Args json.RawMessage `json:"args"`
}

// reply is what goes back on the reply topic.
type reply struct {
	ID    string `json:"id"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// remembered is how many replies a device keeps, to give them again when a
// command arrives again.
const remembered = 32

// answers are the latest replies, by command id.
type answers struct {
	order []string
	byID  map[string]reply
}

func (a *answers) add(r reply) {
	if a.byID == nil {
		a.byID = make(map[string]reply)
	}
	if len(a.order) == remembered {
		delete(a.byID, a.order[0])
		a.order = a.order[1:]
	}
	a.order = append(a.order, r.ID)
	a.byID[r.ID] = r
}

// execute does what a command says, once for each id, and returns the reply. ok
// is false for what has no id to reply to.
func (d *Device) execute(payload []byte) (r reply, ok bool) {
	var c command
	if err := json.Unmarshal(payload, &c); err != nil || c.ID == "" {
		d.log.Warn("command ignored: it is not a JSON object with an id", "bytes", len(payload))
		return reply{}, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if done, again := d.answers.byID[c.ID]; again {
		return done, true
	}
	r = reply{ID: c.ID, OK: true}
	if err := d.perform(c); err != nil {
		r = reply{ID: c.ID, Error: err.Error()}
	}
	d.answers.add(r)
	d.log.Info("command", "id", c.ID, "name", c.Name, "ok", r.OK, "err", r.Error)
	return r, true
}

// perform is the list of commands that this firmware knows.
func (d *Device) perform(c command) error {
	switch c.Name {
	case "set_interval":
		return d.setInterval(c.Args)
	}
	return fmt.Errorf("unknown command %q; this firmware knows set_interval", c.Name)
}

// setInterval is {"seconds": 5}; it outlives a boot.
func (d *Device) setInterval(raw json.RawMessage) error {
	var args struct {
		Seconds *float64 `json:"seconds"`
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&args); err != nil || args.Seconds == nil {
		return fmt.Errorf(`set_interval takes {"seconds": NUMBER}, not %s`, strings.ToValidUTF8(string(raw), "?"))
	}
	if s := *args.Seconds; s < minInterval.Seconds() || s > maxInterval.Seconds() {
		return fmt.Errorf("set_interval: %v s is not between %v and %v", s, minInterval, maxInterval)
	}
	next := d.state
	next.Interval = time.Duration(*args.Seconds * float64(time.Second))
	if err := d.flash.save(next); err != nil {
		return err
	}
	d.state = next
	select {
	case d.rescaled <- struct{}{}:
	default:
	}
	return nil
}
