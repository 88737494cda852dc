package rules

import (
	"slices"
	"strings"
)

// laneSpec and spaceSpec say which lanes and spaces the engines of a set have.
type laneSpec struct {
	lateness int64
	stratum  int
	sources  string // that rules are given events of, see match.source; "" for all
	behind   int64  // how long what they read was waited for, see rule.behind
}

type spaceSpec struct {
	index  int
	lane   int
	by     []string
	cells  []*cellSpec // by slot
	device bool        // by is [device]
}

// grouped reports whether the space's keys may have events of several devices.
func (s *spaceSpec) grouped() bool { return !slices.Contains(s.by, "device") }

// arrange puts the rules into lanes and spaces, and the cells into slots.
func (s *Set) arrange() {
	s.stratify()
	for _, r := range s.rules {
		r.space = s.spaceOf(s.laneOf(r), r.by)
		for _, c := range r.cells {
			if c.space == nil {
				c.space, c.slot = r.space, len(r.space.cells)
				c.number = s.cells
				s.cells++
				r.space.cells = append(r.space.cells, c)
			}
		}
	}
	for i := range s.lanes { // the space by device of a lane answers for the events that it holds
		if s.lanes[i].lateness > 0 {
			s.spaceOf(i, []string{"device"})
		}
	}
	for _, sp := range s.spaces { // a frame comes after the cells that it ends
		slices.SortStableFunc(sp.cells, func(a, b *cellSpec) int { return int(flag(a.kind == frameKind)) - int(flag(b.kind == frameKind)) })
		for i, c := range sp.cells {
			c.slot = i
		}
	}
}

func (s *Set) laneOf(r *rule) int {
	want := laneSpec{r.lateness, r.stratum, strings.Join(r.match.source, "\x00"), r.behind}
	if i := slices.Index(s.lanes, want); i >= 0 {
		return i
	}
	s.lanes = append(s.lanes, want)
	return len(s.lanes) - 1
}

func (s *Set) spaceOf(lane int, by []string) *spaceSpec {
	for _, sp := range s.spaces {
		if sp.lane == lane && slices.Equal(sp.by, by) {
			return sp
		}
	}
	sp := &spaceSpec{index: len(s.spaces), lane: lane, by: by, device: slices.Equal(by, []string{"device"})}
	s.spaces = append(s.spaces, sp)
	return sp
}

// stratify finds for each rule how many records its events have come through.
func (s *Set) stratify() {
	records := map[string][]*rule{}
	for _, r := range s.rules {
		if r.kind == KindRecord {
			records[r.name] = append(records[r.name], r)
		}
	}
	for changed := true; changed; { // there are no cycles, so this ends
		changed = false
		raise := func(r *rule, to int, behind int64) {
			if to > r.stratum || behind > r.behind {
				r.stratum, r.behind, changed = max(to, r.stratum), max(behind, r.behind), true
			}
		}
		for _, r := range s.rules {
			for _, name := range r.recordings() {
				for _, from := range records[name] {
					if from != r {
						raise(r, from.stratum+1, from.behind+from.lateness)
					}
				}
			}
		}
	}
	for _, r := range s.rules {
		r.derived = r.stratum > 0 && s.readsRecordingsOnly(r, records)
	}
}

// readsRecordingsOnly reports whether all that a rule asks for is derived by
// other rules, so that what devices send can't concern it.
func (s *Set) readsRecordingsOnly(r *rule, records map[string][]*rule) bool {
	names := r.recordings()
	for _, name := range names {
		if !slices.ContainsFunc(records[name], func(from *rule) bool { return from != r }) {
			return false
		}
	}
	return len(names) > 0
}
