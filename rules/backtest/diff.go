package backtest

import (
	"cmp"
	"slices"
	"time"

	"weir/rules"
)

// match pairs incidents of one side only that are of the same rule and key:
// those that overlap, then the nearest ones that are at most near apart. It
// returns the pairs and what is left of each side.
func match(single [sides][]*incident, near time.Duration) (moved []*pair, left [sides][]*incident) {
	for side := range single {
		slices.SortFunc(single[side], byPlace)
	}
	n, o := single[newSide], single[oldSide]
	for len(n) > 0 || len(o) > 0 {
		a, b := run(n), run(o)
		switch {
		case len(b) == 0 || len(a) > 0 && subject(a[0], b[0]) < 0:
			left[newSide], n = append(left[newSide], a...), n[len(a):]
		case len(a) == 0 || subject(a[0], b[0]) > 0:
			left[oldSide], o = append(left[oldSide], b...), o[len(b):]
		default:
			n, o = n[len(a):], o[len(b):]
			for _, apart := range []int64{0, int64(near)} {
				var m []*pair
				m, a, b = matchRun(a, b, apart)
				moved = append(moved, m...)
			}
			left[newSide], left[oldSide] = append(left[newSide], a...), append(left[oldSide], b...)
		}
	}
	return moved, left
}

// run returns the incidents at the front that are of one rule and key.
func run(all []*incident) []*incident {
	for i := range all {
		if subject(all[0], all[i]) != 0 {
			return all[:i]
		}
	}
	return all
}

// matchRun pairs incidents of one rule and key, both in the order of their
// starts, that overlap or are at most apart from one another: each with the
// nearest of its candidates.
func matchRun(a, b []*incident, apart int64) (moved []*pair, restA, restB []*incident) {
	for len(a) > 0 && len(b) > 0 {
		switch gap := distance(a[0], b[0]); {
		case gap > apart && a[0].starts < b[0].starts:
			restA, a = append(restA, a[0]), a[1:]
		case gap > apart:
			restB, b = append(restB, b[0]), b[1:]
		case len(b) > 1 && nearer(a[0], b[1], b[0]):
			restB, b = append(restB, b[0]), b[1:]
		case len(a) > 1 && nearer(b[0], a[1], a[0]):
			restA, a = append(restA, a[0]), a[1:]
		default:
			moved = append(moved, &pair{newSide: a[0], oldSide: b[0]})
			a, b = a[1:], b[1:]
		}
	}
	return moved, append(restA, a...), append(restB, b...)
}

// distance returns how far apart two incidents are: 0 or less if they overlap,
// the less the longer they do.
func distance(x, y *incident) int64 { return max(x.starts, y.starts) - min(x.ends, y.ends) }

// nearer reports whether candidate fits x better than current does.
func nearer(x, candidate, current *incident) bool {
	return distance(x, candidate) < distance(x, current)
}

func subject(x, y *incident) int {
	return cmp.Or(cmp.Compare(x.rule, y.rule), cmp.Compare(x.key, y.key))
}

func byPlace(x, y *incident) int {
	return cmp.Or(subject(x, y), cmp.Compare(x.starts, y.starts), cmp.Compare(x.id, y.id))
}

func byTime(x, y *incident) int {
	return cmp.Or(cmp.Compare(x.starts, y.starts), subject(x, y), cmp.Compare(x.id, y.id))
}

// export returns the pair as the report has it.
func (p *pair) export() Move {
	n, o := p[newSide], p[oldSide]
	m := Move{Rule: n.rule, Key: n.key, Old: o.export(), New: n.export(), Starts: rules.Duration(n.starts - o.starts)}
	switch {
	case n.ends != open && o.ends != open:
		m.Ends = rules.Duration(n.ends - o.ends)
	case n.ends == open && o.ends != open:
		m.OpenIn = "new"
	case o.ends == open && n.ends != open:
		m.OpenIn = "old"
	}
	return m
}
