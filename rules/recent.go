package rules

import "math/bits"

// recent knows the clocks of devices that were heard of lately, so that most
// events need no look at a lane's map. A device may be in one of two places.
type recent []recentClock

type recentClock struct {
	hash  uint64
	clock *clock
}

// recentClocks is how many clocks are kept at hand in a lane: 16 KiB.
const recentClocks = 1024

// find returns the clock of a device with a hash, nil if it is not at hand.
func (r recent) find(h uint64, device string) *clock {
	if len(r) == 0 {
		return nil
	}
	i := h % recentClocks
	if p := &r[i]; p.hash == h && p.clock != nil && p.clock.device == device {
		return p.clock
	}
	if p := &r[i^1]; p.hash == h && p.clock != nil && p.clock.device == device {
		return p.clock
	}
	return nil
}

func (r *recent) put(h uint64, c *clock) {
	if len(*r) == 0 {
		*r = make(recent, recentClocks)
	}
	i := h % recentClocks
	(*r)[i^1] = (*r)[i]
	(*r)[i] = recentClock{h, c}
}

// hashText is a cheap hash, the same in every process.
func hashText(s string) uint64 {
	const a, b = 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93
	h := uint64(len(s)) * b
	for len(s) >= 8 {
		hi, lo := bits.Mul64(h^word(s), a)
		h = hi ^ lo
		s = s[8:]
	}
	w := uint64(0)
	switch {
	case len(s) >= 4:
		w = half(s) | half(s[len(s)-4:])<<32
	case len(s) > 0:
		w = uint64(s[0]) | uint64(s[len(s)/2])<<8 | uint64(s[len(s)-1])<<16
	}
	hi, lo := bits.Mul64(h^w^b, a)
	return hi ^ lo
}

func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func half(s string) uint64 {
	_ = s[3]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}

// textIndex finds rules by a text. Most texts have none, which a filter of
// their hashes says without a look at the map, however many rules there are.
type textIndex struct {
	rules  map[string][]*ruleState
	filter []uint64 // two bits of a word for each hash; a power of two of words
}

func (x *textIndex) add(text string, rs *ruleState) {
	if x.rules == nil {
		x.rules = map[string][]*ruleState{}
	}
	x.rules[text] = append(x.rules[text], rs)
}

// seal is called once all rules are there.
func (x *textIndex) seal() {
	if len(x.rules) == 0 {
		return
	}
	const each = 16 // bits a text, so that some 3 % of other texts are looked up for nothing
	x.filter = make([]uint64, 1<<bits.Len(uint(len(x.rules)*each/64)))
	for text := range x.rules {
		w, mask := x.place(hashText(text))
		x.filter[w] |= mask
	}
}

func (x *textIndex) place(h uint64) (int, uint64) {
	return int(h >> 12 & uint64(len(x.filter)-1)), 1<<(h&63) | 1<<(h>>6&63)
}

// find returns the rules of a text whose hash is h.
func (x *textIndex) find(h uint64, text string) []*ruleState {
	if len(x.filter) == 0 {
		return nil
	}
	if w, mask := x.place(h); x.filter[w]&mask != mask {
		return nil
	}
	return x.rules[text]
}
