package rules

import "container/heap"

// timers is a heap of alerts by deadline. Equal deadlines are in the order of
// rule and key, so that the order in which timers fire does not depend on the
// order in which they were set.
type timers []*alert

func (t *timers) push(a *alert)   { heap.Push((*timerHeap)(t), a) }
func (t *timers) remove(a *alert) { heap.Remove((*timerHeap)(t), a.timer) }

type timerHeap []*alert

func (h timerHeap) Len() int { return len(h) }

func (h timerHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	if a.deadline != b.deadline {
		return a.deadline < b.deadline
	}
	if a.rs.rule.id != b.rs.rule.id {
		return a.rs.rule.id < b.rs.rule.id
	}
	return a.key < b.key
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].timer, h[j].timer = i, j
}

func (h *timerHeap) Push(x any) {
	a := x.(*alert)
	a.timer = len(*h)
	*h = append(*h, a)
}

func (h *timerHeap) Pop() any {
	old := *h
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	a.timer = -1
	return a
}
