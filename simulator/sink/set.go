package sink

// set holds hashes of 64 bits. Its zero value is empty. It is open addressing
// with linear probing, which takes 12 to 24 bytes a hash, where a map takes
// twice that and several times as long.
type set struct {
	slots []uint64 // 0: free; the length is a power of two
	count uint64   // in slots; zero is counted apart
	zero  bool     // whether it holds the hash 0
}

// add puts h in and reports whether it was new.
func (s *set) add(h uint64) bool {
	if h == 0 {
		added := !s.zero
		s.zero = true
		return added
	}
	if uint64(len(s.slots))*2 <= s.count*3 { // more than two thirds full
		s.grow()
	}
	if !s.insert(h) {
		return false
	}
	s.count++
	return true
}

func (s *set) insert(h uint64) bool {
	mask := uint64(len(s.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		switch s.slots[i] {
		case 0:
			s.slots[i] = h
			return true
		case h:
			return false
		}
	}
}

func (s *set) grow() {
	old := s.slots
	s.slots = make([]uint64, max(2*len(old), 1024))
	for _, h := range old {
		if h != 0 {
			s.insert(h)
		}
	}
}

// len is the number of hashes in s.
func (s *set) len() uint64 {
	if s.zero {
		return s.count + 1
	}
	return s.count
}
