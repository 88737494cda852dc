package window

import "strings"

// texts are the different texts in a window, each with a number that stands for
// it in samples. Equal texts have equal numbers.
type texts struct {
	numbers map[string]uint32
	list    []text
	free    []uint32 // numbers to use again
	bytes   int      // length of all texts together
}

type text struct {
	s    string
	uses int // samples that hold it
}

// take returns the number of a text, which one more sample holds.
func (t *texts) take(s string) uint32 {
	if i, ok := t.numbers[s]; ok {
		t.list[i].uses++
		return i
	}
	s = strings.Clone(s) // it may be part of a whole message
	var i uint32
	if n := len(t.free); n > 0 {
		i = t.free[n-1]
		t.free = t.free[:n-1]
		t.list[i] = text{s, 1}
	} else {
		i = uint32(len(t.list))
		t.list = append(t.list, text{s, 1})
	}
	if t.numbers == nil {
		t.numbers = make(map[string]uint32)
	}
	t.numbers[s] = i
	t.bytes += len(s)
	return i
}

// give says that one sample less holds text i.
func (t *texts) give(i uint32) {
	if t.list[i].uses--; t.list[i].uses > 0 {
		return
	}
	t.bytes -= len(t.list[i].s)
	delete(t.numbers, t.list[i].s)
	t.list[i] = text{}
	t.free = append(t.free, i)
}
