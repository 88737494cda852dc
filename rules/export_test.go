package rules

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
)

// SealSnapshot puts a body between the header and the checksum of a snapshot.
func SealSnapshot(body []byte) []byte {
	b := append([]byte(snapshotMagic), snapshotVersion)
	b = append(b, body...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// SetMaxClocks sets from how many clocks on devices are forgotten, and returns
// what it was.
func SetMaxClocks(n int) int {
	was := maxClocks
	maxClocks = n
	return was
}

// Recount looks at all that an engine knows of windows for a rule: of how many
// keys its largest slot knows something, and how large all is, as Stats says
// without the alerts.
func (e *Engine) Recount(rule string) (keys, size int) {
	each := map[int32]int{}
	for _, sp := range e.spaces {
		sp.each(func(en *entry) {
			for _, k := range en.cells {
				if slices.Contains(sp.cells[k.slot].rules, rule) && !k.empty() {
					each[k.slot]++
					keys = max(keys, each[k.slot])
					size += k.size() + entrySize/2
				}
			}
		})
	}
	return keys, size
}

// OpenSnapshot returns the body of a snapshot.
func OpenSnapshot(b []byte) ([]byte, error) { return openSnapshot(b) }

// SetMinIndexed sets how many rules are worth an index, and returns how many
// were.
func SetMinIndexed(n int) int {
	was := minIndexed
	minIndexed = n
	return was
}
