package influxdb

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"weir/ingest/event"
	"weir/sinks/exchange"
)

// RefusedError is a message that the server does not take, with its words.
type RefusedError struct {
	Status int    // of HTTP
	Text   string // what the server said
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("InfluxDB refused it (status %d): %s", e.Status, e.Text)
}

// maxRounds bounds how often the same messages are sent again because the server
// named another cause. After that they are halved, which comes to an end by itself.
const maxRounds = 64

// repair delivers the messages that the encoder holds and that the server has
// refused with a: the good ones are written, the others are dead.
func (c *call) repair(ctx context.Context, a *answer) error {
	return c.deliver(ctx, slices.Clone(c.enc.units), a)
}

// deliver writes units, which the encoder holds and the server has refused.
func (c *call) deliver(ctx context.Context, units []unit, a *answer) error {
	flipped := map[name]bool{}
	for range maxRounds {
		var rest []unit
		switch cf, ok := a.conflict(); {
		case a.tooLarge():
			return c.halves(ctx, units, a)
		case ok && !c.enc.natural && !flipped[cf.name]:
			flipped[cf.name] = true
			c.sink.types.override(cf.measurement, cf.field, cf.exists)
			c.sink.metrics.Learnt.Add(1)
			rest = units
		case ok:
			return c.halves(ctx, units, a)
		case c.enc.unsigned && c.enc.uints > 0 && a.knowsNoUnsigned():
			// Settings for a 2.x reach a 1.8 too, with "database/policy" as the bucket.
			c.enc.unsigned = false
			c.sink.oneX.Store(true)
			rest = units
		case a.beyondRetention() && len(units) > 1:
			var err error
			if rest, err = c.retained(ctx, units, a); err != nil {
				return err
			}
		default:
			if rest = c.parsable(units, a); len(rest) == len(units) {
				return c.halves(ctx, units, a)
			}
		}
		odd := c.encode(rest)
		if len(odd) > 0 {
			dead := len(c.out.Dead)
			if err := c.deliverOdd(ctx, odd); err != nil {
				return err
			}
			if len(c.out.Dead)-dead < len(odd) { // some were taken in the type they came in
				for n := range flipped {
					c.sink.types.dispute(n.measurement, n.field)
				}
			}
			rest = without(rest, odd)
			c.encode(rest)
		}
		var err error
		if units, a, err = c.again(ctx); err != nil || a == nil {
			return err
		}
	}
	return c.halves(ctx, units, a)
}

// again sends what the encoder holds, and returns it if it is refused.
func (c *call) again(ctx context.Context) ([]unit, *answer, error) {
	if len(c.enc.units) == 0 {
		return nil, nil, nil
	}
	a, err := c.post(ctx)
	if err != nil || a == nil {
		return nil, nil, err
	}
	return slices.Clone(c.enc.units), a, nil
}

// encode replaces what the encoder holds by the lines of units, and returns
// those that cannot be written in the types that are known now.
func (c *call) encode(units []unit) (odd []unit) {
	c.enc.reset()
	for _, u := range units {
		if _, err := c.add(int(u.batch), u.message); err != nil {
			odd = append(odd, u)
		}
	}
	return odd
}

// deliverOdd writes messages that no longer fit after the server named another
// type for a field. A server may know a field as two types, each for a time of
// its own (1.8 keeps them per shard), so it is asked about each message, with the
// values in the types they came in.
func (c *call) deliverOdd(ctx context.Context, units []unit) error {
	if c.enc.natural {
		// Nothing is coerced now, so this is no matter of types.
		for _, u := range units {
			_, err := c.add(int(u.batch), u.message)
			c.dead(int(u.batch), u.message, err)
		}
		return nil
	}
	c.enc.natural = true
	defer func() { c.enc.natural = false }()
	c.encode(units)
	rest, a, err := c.again(ctx)
	if err != nil || a == nil {
		return err
	}
	return c.deliver(ctx, rest, a)
}

// halves delivers units in two parts; one that stands alone is dead.
func (c *call) halves(ctx context.Context, units []unit, a *answer) error {
	if len(units) == 1 {
		c.dead(int(units[0].batch), units[0].message, &RefusedError{a.status, a.cause()})
		return nil
	}
	for _, half := range [][]unit{units[:len(units)/2], units[len(units)/2:]} {
		if odd := c.encode(half); len(odd) > 0 { // a type was learnt meanwhile
			if err := c.deliverOdd(ctx, odd); err != nil {
				return err
			}
			half = without(half, odd)
			c.encode(half)
		}
		rest, a, err := c.again(ctx)
		if err != nil {
			return err
		}
		if a != nil {
			if err := c.deliver(ctx, rest, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// parsable takes out the units whose lines the answer quotes as ones that can't
// be parsed; they are dead. Those in the encoder are units.
func (c *call) parsable(units []unit, a *answer) []unit {
	reasons := map[string]string{} // by line
	a.unparsable(func(line, reason string) { reasons[line] = reason })
	if len(reasons) == 0 {
		return units
	}
	rest := make([]unit, 0, len(units))
	start := 0
	for i, u := range units {
		reason, bad := "", false
		for line := range strings.SplitSeq(string(c.enc.body[start:c.enc.units[i].end]), "\n") {
			if r, ok := reasons[line]; ok {
				reason, bad = r, true
			}
		}
		start = c.enc.units[i].end
		if !bad {
			rest = append(rest, u)
			continue
		}
		c.dead(int(u.batch), u.message, &RefusedError{a.status, "unable to parse the line: " + exchange.Clip(reason, 300)})
	}
	return rest
}

// retained takes out the units that are too old for the database. They are
// found by their time: of two points, the later is not the one too old.
func (c *call) retained(ctx context.Context, units []unit, a *answer) ([]unit, error) {
	at := make(map[unit]int64, len(units))
	for _, u := range units {
		at[u] = c.oldest(u)
	}
	byTime := slices.Clone(units)
	slices.SortStableFunc(byTime, func(u, v unit) int {
		switch {
		case at[u] < at[v]:
			return -1
		case at[u] > at[v]:
			return 1
		}
		return 0
	})
	// Not sort.Search: each probe is a request, and may fail.
	lo, hi := 0, len(byTime) // below lo is too old, from hi on is not
	for lo < hi {
		mid := (lo + hi) / 2
		c.encode(byTime[mid : mid+1])
		_, probe, err := c.again(ctx)
		if err != nil {
			return nil, err
		}
		if probe != nil && probe.beyondRetention() {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 { // no probe was refused for its age: let halving find what it is
		c.encode(units)
		return nil, c.halves(ctx, units, a)
	}
	for _, u := range byTime[:lo] {
		c.dead(int(u.batch), u.message, &RefusedError{a.status, a.cause()})
	}
	return without(units, byTime[:lo]), nil
}

// oldest returns the time of the oldest line of a unit, in ns.
func (c *call) oldest(u unit) int64 {
	b := c.batches[u.batch]
	if b.Messages[u.message].Record == event.AlertFact {
		ev, _, _ := alertEvent(b.Messages[u.message].Payload)
		return ev.Time
	}
	oldest := int64(math.MaxInt64)
	for _, e := range b.EventsOf(int(u.message)) {
		oldest = min(oldest, e.Time)
	}
	return oldest
}

// without returns units that are not in out, in their order.
func without(units, out []unit) []unit {
	type key struct {
		batch   int32
		message uint32
	}
	gone := make(map[key]bool, len(out))
	for _, u := range out {
		gone[key{u.batch, u.message}] = true
	}
	rest := make([]unit, 0, len(units))
	for _, u := range units {
		if !gone[key{u.batch, u.message}] {
			rest = append(rest, u)
		}
	}
	return rest
}
