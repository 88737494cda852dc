package eventlog

import (
	"encoding/binary"
	"fmt"
	"time"

	"weir/ingest/ring"
)

// setBack is how far a receive time may lie before the one before it and still
// be moved behind that. One further back is from a clock that was set, or has
// waited long for its turn, and a minute is too much to add.
const setBack = int64(time.Minute)

// restamp makes the receive times of a batch strictly increasing, beginning
// after last, by as many nanoseconds as that takes; it returns the last and the
// latest, which is at least until. What one socket read brings has one receive
// time, and an event without a time of its own is known by that: two of a device
// must not have the same.
//
// A record whose first field is not its receive time keeps it: it was derived,
// or it is put into the log again and is from then.
func restamp(raw []byte, last, until int64) (newLast, latest int64, err error) {
	for at := 0; at < len(raw); {
		switch raw[at] {
		case tagRecords:
			n, w := binary.Uvarint(raw[at+1:])
			at += 1 + w
			if w <= 0 || n > uint64(len(raw)-at) {
				return last, until, fmt.Errorf("record at byte %d: %w", at, ErrMalformed)
			}
			if n >= 9 && raw[at] == tagReceived {
				stamp := raw[at+1 : at+9]
				if t := int64(binary.LittleEndian.Uint64(stamp)); t > last || t < last-setBack {
					last = t
				} else {
					last++
					binary.LittleEndian.PutUint64(stamp, uint64(last))
				}
				until = max(until, last)
			}
			at += int(n)
		case tagChunk:
			at += ring.HeaderLen - 3
		case tagPadding:
			for at++; at < len(raw) && raw[at] >= 0x80; at++ {
			}
			at++
		default:
			return last, until, fmt.Errorf("field tag %#x at byte %d: %w", raw[at], at, ErrMalformed)
		}
	}
	return last, until, nil
}
