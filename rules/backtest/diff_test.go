package backtest

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"weir/ingest/event"
)

// incidents parses "k 10-20, k 30-": key, start and end in seconds.
func incidents(t *testing.T, text string) (all []*incident) {
	t.Helper()
	for part := range strings.SplitSeq(text, ", ") {
		if part == "" {
			continue
		}
		var from, to int64
		in := &incident{rule: "g/r", ends: math.MaxInt64}
		if n, _ := fmt.Sscanf(part, "%s %d-%d", &in.key, &from, &to); n < 2 {
			t.Fatalf("incident %q", part)
		} else if n == 3 {
			in.ends = to * int64(time.Second)
		}
		in.starts = from * int64(time.Second)
		in.id = part
		all = append(all, in)
	}
	return all
}

func TestIncidentsAreMatchedByOverlapThenByNearness(t *testing.T) {
	for _, tt := range []struct {
		name, new, old          string
		moved, newLeft, oldLeft string
	}{
		{"overlapping", "k 10-20", "k 15-25", "k 15-25 > k 10-20", "", ""},
		{"of different keys", "k 10-20", "l 15-25", "", "k 10-20", "l 15-25"},
		{"one that became two", "k 10-20, k 22-40", "k 10-41", "k 10-41 > k 22-40", "k 10-20", ""},
		{"two that became one", "k 10-41", "k 10-20, k 22-40", "k 22-40 > k 10-41", "", "k 10-20"},
		{"the longer overlap counts", "k 0-30, k 31-50", "k 28-48", "k 28-48 > k 31-50", "k 0-30", ""},
		{"near, without overlap", "k 10-20", "k 60-70", "k 60-70 > k 10-20", "", ""},
		{"too far apart", "k 10-20", "k 90-100", "", "k 10-20", "k 90-100"},
		{"the nearer one", "k 100-110", "k 60-70, k 115-120", "k 115-120 > k 100-110", "", "k 60-70"},
		{"overlap goes before nearness", "k 10-20, k 50-60", "k 22-25, k 55-58", "k 55-58 > k 50-60; k 22-25 > k 10-20", "", ""},
		{"open ones overlap with what comes later", "k 10-", "k 100-", "k 100- > k 10-", "", ""},
		{"many", "a 0-1, b 0-1, c 0-1", "b 2-3, d 0-1", "b 2-3 > b 0-1", "a 0-1, c 0-1", "d 0-1"},
		{"nothing", "", "", "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			moved, left := match([sides][]*incident{incidents(t, tt.new), incidents(t, tt.old)}, time.Minute)
			var got []string
			for _, p := range moved {
				got = append(got, p[oldSide].id+" > "+p[newSide].id)
			}
			ids := func(all []*incident) string {
				var out []string
				for _, in := range all {
					out = append(out, in.id)
				}
				return strings.Join(out, ", ")
			}
			if g := strings.Join(got, "; "); g != tt.moved || ids(left[newSide]) != tt.newLeft || ids(left[oldSide]) != tt.oldLeft {
				t.Errorf("moved %q, left %q and %q; want %q, %q, %q", g, ids(left[newSide]), ids(left[oldSide]), tt.moved, tt.newLeft, tt.oldLeft)
			}
		})
	}
}

// Every incident is in one pair, or left over.
func FuzzMatchingLosesNothing(f *testing.F) {
	f.Add([]byte{1, 5, 3, 9, 2, 2}, []byte{1, 6, 40, 3})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		make := func(raw []byte) (all []*incident) {
			at := int64(0)
			for i := 0; i+1 < len(raw); i += 2 {
				at += int64(raw[i])
				in := &incident{rule: "g/r", key: fmt.Sprint(raw[i] % 3), starts: at, ends: at + int64(raw[i+1])}
				if raw[i+1] == 255 {
					in.ends = open
				}
				in.id = fmt.Sprint(i)
				all = append(all, in)
			}
			return all
		}
		x, y := make(a), make(b)
		moved, left := match([sides][]*incident{x, y}, 20)
		seen := map[*incident]int{}
		for _, p := range moved {
			if p[newSide].key != p[oldSide].key || distance(p[newSide], p[oldSide]) > 20 {
				t.Fatalf("%+v and %+v are no pair", p[newSide], p[oldSide])
			}
			seen[p[newSide]]++
			seen[p[oldSide]]++
		}
		for _, in := range append(left[newSide], left[oldSide]...) {
			seen[in]++
		}
		for _, in := range append(x, y...) {
			if seen[in] != 1 {
				t.Fatalf("%+v is there %d times", in, seen[in])
			}
		}
	})
}

// TestTheLedgerIsBounded: incidents beyond the bound are counted.
func TestTheLedgerIsBounded(t *testing.T) {
	l := newLedger(math.MinInt64, math.MaxInt64, 3)
	for i := range 5 {
		l.fact(newSide, firing(i), int64(i))
	}
	for i := range 5 {
		l.fact(newSide, resolved(i), int64(10+i))
	}
	_, single := l.close(20)
	s := l.rules["g/r"].sides[newSide]
	if len(single[newSide]) != 3 || l.beyond[newSide] != 2 || s.incidents != 5 || s.pages != 5 {
		t.Errorf("%d are kept and %d are not, %d incidents and %d pages are counted; want 3, 2, 5, 5", len(single[newSide]), l.beyond[newSide], s.incidents, s.pages)
	}
}

func firing(i int) *event.Alert {
	return &event.Alert{ID: fmt.Sprint(i), State: event.Firing, Rule: "g/r", Key: "k", StartsAt: time.Unix(0, int64(i))}
}

func resolved(i int) *event.Alert {
	a := firing(i)
	end := time.Unix(0, int64(10+i))
	a.State, a.EndsAt = event.Resolved, &end
	return a
}
