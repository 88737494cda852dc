package rules

import (
	"encoding/binary"
	"hash/crc32"
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

// OpenSnapshot returns the body of a snapshot.
func OpenSnapshot(b []byte) ([]byte, error) { return openSnapshot(b) }

// SetMinIndexed sets how many rules are worth an index, and returns how many
// were.
func SetMinIndexed(n int) int {
	was := minIndexed
	minIndexed = n
	return was
}
