package decode

// Route is what the log needs to know of a message before it is decoded.
type Route struct {
	Source int    // index of the source that takes the topic
	Key    string // what decides the partition: the device if the topic tells it, else the whole topic
}

// Route returns which source takes a topic, and the key of its partition. The
// key aliases topic where it can. It allocates only where a device is named by
// several captures. Safe for concurrent use.
func (s *Set) Route(topic string) (Route, bool) {
	var caps captures
	i, _ := s.find(topic, &caps)
	if i < 0 {
		return Route{}, false
	}
	src := s.sources[i]
	key := ""
	switch {
	case len(src.device) > 0 && src.device[0].pick < 0:
		key = src.device[0].text.render(&caps)
	case src.deviceCap >= 0:
		key = caps[src.deviceCap]
	}
	if key == "" {
		key = topic
	}
	return Route{i, key}, true
}

// find returns the source that takes a topic, or -1, and then whether one
// would have but for its ignore filters.
func (s *Set) find(topic string, caps *captures) (int, bool) {
	ignored := false
next:
	for i, src := range s.sources {
		if !src.topic.match(topic, caps) {
			continue
		}
		for _, t := range src.ignore {
			var unused captures
			if t.match(topic, &unused) {
				ignored = true
				continue next
			}
		}
		return i, false
	}
	return -1, ignored
}

// Partition returns the partition, from 0, of a key among n: the 64-bit FNV-1a
// hash of its bytes, mixed by MurmurHash3's 64-bit finalizer (alone, its lowest
// bit is the parity of the key's bytes), modulo n. Stored data depends on it:
// it must not change.
func Partition(key string, n int) int {
	if n <= 1 {
		return 0
	}
	h := uint64(14695981039346656037)
	for i := 0; i < len(key); i++ {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return int(h % uint64(n))
}
