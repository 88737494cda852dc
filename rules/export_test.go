package rules

import (
	"encoding/binary"
	"hash/crc32"
)

// SealSnapshot puts the header of a snapshot before a body.
func SealSnapshot(body []byte) []byte {
	b := append([]byte(snapshotMagic), snapshotVersion)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	return append(b, body...)
}
