package rules

import (
	"fmt"
	"strings"
	"testing"
)

// names returns texts of all lengths, many of which begin or end alike.
func names(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprint(i), fmt.Sprintf("%06d", i), fmt.Sprintf("plant-7/line-%d", i), fmt.Sprintf("%dx", i), strings.Repeat("a", i))
	}
	return all
}

func TestALaneFindsTheClocksThatItHas(t *testing.T) {
	l := &lane{clocks: map[string]*clock{}}
	all := names(1000)
	for range 3 {
		for i := range all {
			for _, device := range []string{all[i], all[0], all[i/2]} {
				c := l.obtain(hashText(device), device, 0, 0)
				if c == nil || c.device != device || l.clocks[device] != c {
					t.Fatalf("the clock of %q is %+v", device, c)
				}
			}
		}
	}
	if len(l.all) != len(l.clocks) {
		t.Errorf("%d clocks were made for %d devices", len(l.all), len(l.clocks))
	}
}

func TestEqualHashesAreNoEqualDevices(t *testing.T) {
	l := &lane{clocks: map[string]*clock{}}
	for range 2 {
		for _, device := range []string{"a", "b", "c"} {
			if c := l.obtain(1, device, 0, 0); c.device != device {
				t.Errorf("the clock of %s is that of %s", device, c.device)
			}
		}
	}
}

func TestATextIndexFindsWhatAMapDoes(t *testing.T) {
	for _, n := range []int{0, 1, 3, 1000} {
		var x textIndex
		for i, name := range names(n) {
			if i%2 == 0 {
				x.add(name, &ruleState{})
			}
		}
		x.seal()
		other, passed := 0, 0
		for _, name := range names(2000) {
			if got, want := x.find(hashText(name), name), x.rules[name]; len(got) != len(want) || len(got) > 0 && &got[0] != &want[0] {
				t.Fatalf("of %d: %q has rules %v, want %v", n, name, got, want)
			}
			if len(x.filter) == 0 || x.rules[name] != nil {
				continue
			}
			other++
			if w, mask := x.place(hashText(name)); x.filter[w]&mask == mask {
				passed++
			}
		}
		if passed*10 > other {
			t.Errorf("of %d: the filter lets %d of %d texts without rules pass", n, passed, other)
		}
	}
}
