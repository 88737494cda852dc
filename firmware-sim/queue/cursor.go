package queue

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
)

const cursorSize = 24

// cursor is the file that says what is done with.
type cursor struct {
	file    *os.File
	done    uint64 // last sequence number acknowledged or dropped
	dropped uint64 // entries dropped so far
	turn    int64  // which of the two records to write next
}

func openCursor(path string) (*cursor, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	c := &cursor{file: file}
	var both [2 * cursorSize]byte
	n, err := file.ReadAt(both[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, file.Close())
	}
	for i := range int64(2) {
		record := both[i*cursorSize : (i+1)*cursorSize]
		if int64(n) < (i+1)*cursorSize || crc32.Checksum(record[:16], crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(record[16:]) {
			continue
		}
		if done := binary.LittleEndian.Uint64(record); done >= c.done {
			c.done, c.dropped, c.turn = done, binary.LittleEndian.Uint64(record[8:]), 1-i
		}
	}
	return c, nil
}

// set writes the cursor, over the older of its two records.
func (c *cursor) set(done, dropped uint64, sync bool) error {
	var record [cursorSize]byte
	binary.LittleEndian.PutUint64(record[:], done)
	binary.LittleEndian.PutUint64(record[8:], dropped)
	binary.LittleEndian.PutUint32(record[16:], crc32.Checksum(record[:16], crc32.MakeTable(crc32.Castagnoli)))
	if _, err := c.file.WriteAt(record[:], c.turn*cursorSize); err != nil {
		return err
	}
	if sync {
		if err := c.file.Sync(); err != nil {
			return err
		}
	}
	c.done, c.dropped, c.turn = done, dropped, 1-c.turn
	return nil
}
