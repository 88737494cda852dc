package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"unsafe"

	"weir/ingest/event"
)

// Protobuf tags of batch.proto: field number << 3 | wire type.
const (
	tagRecords = 1<<3 | 2
	tagChunk   = 2<<3 | 5
	tagPadding = 3<<3 | 0

	tagReceived = 1<<3 | 1
	tagTopic    = 2<<3 | 2
	tagPayload  = 3<<3 | 2
	tagClient   = 4<<3 | 2
	tagKind     = 5<<3 | 0
	tagFlags    = 6<<3 | 0
	tagID       = 7<<3 | 2
)

// ErrMalformed is wrapped by every error of Parse: the bytes are no batch.
var ErrMalformed = errors.New("malformed batch")

func sizeVarint(n uint64) int { return (bits.Len64(n|1) + 6) / 7 }

func sizeBytes(n int) int {
	if n == 0 {
		return 0
	}
	return 1 + sizeVarint(uint64(n)) + n
}

// RecordOverhead bounds what AppendRecord adds to the topic, payload, client
// and id of a message.
const RecordOverhead = 48

// AppendPublish appends a published message as one record of a batch. The
// topic and the payload may point into a socket buffer: they are copied.
func AppendPublish[T string | []byte](b []byte, received int64, topic T, payload []byte, client string, qos byte, retain bool) []byte {
	flags := qos & 3
	if retain {
		flags |= 4
	}
	size := 9 + sizeBytes(len(topic)) + sizeBytes(len(payload)) + sizeBytes(len(client))
	if flags != 0 {
		size += 2
	}
	b = append(b, tagRecords)
	b = binary.AppendUvarint(b, uint64(size))
	b = append(b, tagReceived)
	b = binary.LittleEndian.AppendUint64(b, uint64(received))
	if len(topic) > 0 {
		b = append(b, tagTopic)
		b = binary.AppendUvarint(b, uint64(len(topic)))
		b = append(b, topic...)
	}
	if len(payload) > 0 {
		b = append(b, tagPayload)
		b = binary.AppendUvarint(b, uint64(len(payload)))
		b = append(b, payload...)
	}
	if len(client) > 0 {
		b = append(b, tagClient)
		b = binary.AppendUvarint(b, uint64(len(client)))
		b = append(b, client...)
	}
	if flags != 0 {
		b = append(b, tagFlags, flags)
	}
	return b
}

// AppendRecord appends any message as one record of a batch. What is not a
// publish that was received just now keeps its receive time: see restamp.
func AppendRecord(b []byte, m *event.Message) []byte {
	start := len(b)
	b = AppendPublish(b, m.Received, m.Topic, m.Payload, m.Client, m.QoS, m.Retain)
	_, n := binary.Uvarint(b[start+1:])
	publish := b[start+1+n:]
	body := make([]byte, 0, 2+len(publish)+sizeBytes(len(m.ID)))
	body = append(body, tagKind, byte(m.Record)) // first, so that the receive time is not
	body = append(body, publish...)
	if m.ID != "" {
		body = append(body, tagID)
		body = binary.AppendUvarint(body, uint64(len(m.ID)))
		body = append(body, m.ID...)
	}
	b = append(b[:start], tagRecords)
	b = binary.AppendUvarint(b, uint64(len(body)))
	return append(b, body...)
}

// Parse appends the records of an encoded batch to b.Messages. Topics,
// payloads and clients point into raw, which must not change afterwards.
func Parse(raw []byte, b *event.Batch) error {
	for at := 0; at < len(raw); {
		tag := raw[at]
		at++
		switch tag {
		case tagRecords:
			n, w := binary.Uvarint(raw[at:])
			if w <= 0 || n > uint64(len(raw)-at-w) {
				return fmt.Errorf("record at byte %d runs over the end: %w", at-1, ErrMalformed)
			}
			at += w
			b.Messages = append(b.Messages, event.Message{})
			if err := parseRecord(raw[at:at+int(n)], &b.Messages[len(b.Messages)-1]); err != nil {
				return fmt.Errorf("record at byte %d: %w", at, err)
			}
			at += int(n)
		case tagChunk:
			if len(raw)-at < 4 {
				return fmt.Errorf("chunk at byte %d runs over the end: %w", at-1, ErrMalformed)
			}
			at += 4
		case tagPadding:
			w := 0
			for w < len(raw)-at && w < 10 && raw[at+w]&0x80 != 0 {
				w++
			}
			if w == len(raw)-at || w == 10 {
				return fmt.Errorf("padding at byte %d: %w", at-1, ErrMalformed)
			}
			at += w + 1
		default:
			return fmt.Errorf("unknown field tag %#x at byte %d: %w", tag, at-1, ErrMalformed)
		}
	}
	return nil
}

func str(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// parseRecord reads the fields of one record. Unknown fields are an error: a
// newer weir wrote them, and to skip them would be to misread it.
func parseRecord(r []byte, m *event.Message) error {
	for at := 0; at < len(r); {
		tag := r[at]
		at++
		switch tag {
		case tagReceived:
			if len(r)-at < 8 {
				return fmt.Errorf("receive time: %w", ErrMalformed)
			}
			m.Received = int64(binary.LittleEndian.Uint64(r[at:]))
			at += 8
		case tagTopic, tagPayload, tagClient, tagID:
			var n uint64
			w := 1
			if at < len(r) && r[at] < 0x80 {
				n = uint64(r[at])
			} else {
				n, w = binary.Uvarint(r[at:])
			}
			if w <= 0 || at == len(r) || n > uint64(len(r)-at-w) {
				return fmt.Errorf("field %d runs over the end: %w", tag>>3, ErrMalformed)
			}
			at += w
			v := r[at : at+int(n) : at+int(n)]
			at += int(n)
			switch tag {
			case tagTopic:
				m.Topic = str(v)
			case tagPayload:
				m.Payload = v
			case tagClient:
				m.Client = str(v)
			case tagID:
				m.ID = str(v)
			}
		case tagKind, tagFlags:
			v, w := binary.Uvarint(r[at:])
			if w <= 0 {
				return fmt.Errorf("field %d: %w", tag>>3, ErrMalformed)
			}
			at += w
			if tag == tagKind {
				if v > uint64(event.Operation) {
					return fmt.Errorf("record of kind %d, which this version does not know: %w", v, ErrMalformed)
				}
				m.Record = event.Record(v)
			} else {
				m.QoS, m.Retain = byte(v&3), v&4 != 0
			}
		default:
			return fmt.Errorf("unknown field tag %#x: %w", tag, ErrMalformed)
		}
	}
	return nil
}
