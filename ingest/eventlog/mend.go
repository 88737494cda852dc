package eventlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats.go"
)

// place is where in a file a record is, or something that is none.
type place struct {
	from, to int
	sound    bool
	seq      uint64 // of a sound record that holds a message, else 0
}

// read returns what a file of the stream consists of, and whether the server
// can open it as it is: all is sound but for a last record that was not written
// whole when the process died.
func (s *storedStream) read(name string) (*block, bool, error) {
	b := &block{name: name, stream: s.name}
	var err error
	if b.bytes, err = os.ReadFile(name); err != nil {
		return nil, false, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, false, err
	}
	if b.sum, err = recordHash(s.name, blockNumber(name)); err != nil {
		return nil, false, err
	}
	b.scan()
	whole := true
	for i, p := range b.places {
		// Where the index was written after the file nothing was under way.
		if !p.sound && !(i == len(b.places)-1 && info.ModTime().After(s.index) && unfinished(b.bytes[p.from:])) {
			whole = false
		}
	}
	return b, whole, nil
}

// unfinished reports whether b is shorter than the record that it begins.
func unfinished(b []byte) bool {
	return len(b) < recordHead || int64(binary.LittleEndian.Uint32(b)&^recordHeaders) > int64(len(b))
}

func recordHash(stream string, number int) (hash.Hash, error) {
	key := sha256.Sum256([]byte(stream + "-" + strconv.Itoa(number)))
	return highwayhash.New64(key[:])
}

// block is a file of a stream.
type block struct {
	name   string
	stream string
	bytes  []byte
	sum    hash.Hash
	places []place
}

func (b *block) scan() {
	for at := 0; at < len(b.bytes); {
		p := place{from: at}
		if n := b.sound(b.bytes[at:]); n > 0 {
			p.to, p.sound = at+n, true
			if seq := binary.LittleEndian.Uint64(b.bytes[at+4:]); seq&recordRemoval == 0 {
				p.seq = seq &^ recordErased
			}
		} else { // the length may be what is damaged
			for at++; at < len(b.bytes); at++ {
				if b.sound(b.bytes[at:]) > 0 {
					break
				}
			}
			p.to = at
		}
		at = p.to
		b.places = append(b.places, p)
	}
}

// sound returns the length of the record that r begins with, or 0 if there is
// none whose checksum is right and whose subject is one of the stream.
func (b *block) sound(r []byte) int {
	if len(r) < recordHead+recordSum {
		return 0
	}
	length := binary.LittleEndian.Uint32(r)
	seq := binary.LittleEndian.Uint64(r[4:])
	size, subject := int64(length&^recordHeaders), int64(binary.LittleEndian.Uint16(r[20:]))
	rest, headers := subject, length&recordHeaders != 0
	if headers {
		rest += 4 // their length
	}
	if size < recordHead+recordSum+rest || size > int64(len(r)) || seq&^(recordErased|recordRemoval) >= 1<<48 {
		return 0
	}
	// The checksum leaves the lengths out, and costs more than a look at the subject.
	data := r[recordHead : size-recordSum]
	if seq&recordRemoval != 0 && len(data) > 0 || seq&recordRemoval == 0 && !b.has(data[:subject]) {
		return 0
	}
	if headers && !startsWithHeaders(data[rest:], binary.LittleEndian.Uint32(data[subject:])) {
		return 0
	}
	if !bytes.Equal(recordSumOf(b.sum, r[4:20], data[:subject], data[rest:]), r[size-recordSum:size]) {
		return 0
	}
	return int(size)
}

// startsWithHeaders reports whether a message begins with so many bytes of headers.
func startsWithHeaders(message []byte, n uint32) bool {
	return int64(n) <= int64(len(message)) && bytes.HasPrefix(message[:n], []byte("NATS/1.0")) && bytes.HasSuffix(message[:n], []byte("\r\n\r\n"))
}

// has reports whether a subject can be one of the stream's.
func (b *block) has(subject []byte) bool {
	partition, ok := strings.CutPrefix(b.stream, "WEIR_LOG_")
	if ok {
		return string(subject) == subjectOf(partition)
	}
	for _, c := range subject {
		if c <= ' ' || c >= 0x7f || c == '{' { // what follows it is a length, or JSON
			return false
		}
	}
	return len(subject) > 0
}

func recordSumOf(sum hash.Hash, parts ...[]byte) []byte {
	sum.Reset()
	for _, p := range parts {
		sum.Write(p)
	}
	return sum.Sum(make([]byte, 0, recordSum))
}

// mend takes what is damaged out of the stream's files.
func (s *storedStream) mend() error {
	mended := false
	before := lastRecord{}
	for i, name := range s.files {
		b, whole, err := s.read(name)
		if err != nil {
			return err
		}
		was := before
		before.pass(b)
		if whole || before.seq == 0 && i == len(s.files)-1 { // with nothing sound there is nothing to go by
			continue
		}
		kept, places := b.without(s.ofTheLog(), was)
		s.log.Error("the log's store is damaged: what is damaged is taken out", "file", name, "places", places, "bytes", len(b.bytes)-len(kept), "sound", len(b.places)-places)
		if err := replaceFile(name, kept); err != nil {
			return fmt.Errorf("take out what is damaged: %w", err)
		}
		mended = true
	}
	if !mended {
		return nil
	}
	return forgetIndex(s.dir)
}

// lastRecord is the last sound record that was passed, 0 for none.
type lastRecord struct {
	seq     uint64
	records uint64 // of the log up to there
	time    uint64
	subject []byte
}

func (l *lastRecord) pass(b *block) {
	for _, p := range b.places {
		if p.sound && p.seq > 0 {
			l.take(b.bytes[p.from:p.to], p.seq)
		}
	}
}

func (l *lastRecord) take(record []byte, seq uint64) {
	l.seq, l.time = seq, binary.LittleEndian.Uint64(record[12:])
	l.subject = record[recordHead : recordHead+int(binary.LittleEndian.Uint16(record[20:]))]
	if h, ok := headerOf(record); ok {
		l.records = h.first + h.count
	}
}

// headerOf returns what a record of a partition says of its batch.
func headerOf(record []byte) (header, bool) {
	if binary.LittleEndian.Uint32(record)&recordHeaders == 0 {
		return header{}, false
	}
	data := record[recordHead+int(binary.LittleEndian.Uint16(record[20:])) : len(record)-recordSum]
	n := int64(binary.LittleEndian.Uint32(data)) // no checksum guards it
	if n > int64(len(data)-4) {
		return header{}, false
	}
	lines, err := nats.DecodeHeadersMsg(data[4 : 4+n])
	if err != nil {
		return header{}, false
	}
	h, err := parseHeader(lines)
	return h, err == nil
}

// without returns the file without what is damaged, and in how many places that
// was. With mark a marker stands for each message of a partition that is missing
// there, and for one at the end of the file.
func (b *block) without(mark bool, last lastRecord) (kept []byte, places int) {
	for i, p := range b.places {
		if p.sound {
			kept = append(kept, b.bytes[p.from:p.to]...)
			if p.seq > 0 {
				last.take(b.bytes[p.from:p.to], p.seq)
			}
			continue
		}
		places++
		if !mark {
			continue
		}
		next := uint64(0)
		for _, q := range b.places[i:] {
			if q.seq == 0 {
				continue
			}
			if next = q.seq; last.seq == 0 && next > 1 { // the log begins here, and that it was one is all that is known
				record := b.bytes[q.from:q.to]
				h, _ := headerOf(record)
				last.take(record, next-2)
				last.records = max(h.first, 1) - 1
			}
			break
		}
		if next == 0 || next-last.seq > maxGap {
			next = last.seq + 2
		}
		for seq := last.seq + 1; seq < next; seq++ {
			last.records++ // each held one at least
			kept = append(kept, b.marker(last, seq)...)
		}
		last.seq = next - 1
	}
	return kept, places
}

// marker returns a record like those that raise writes.
func (b *block) marker(last lastRecord, seq uint64) []byte {
	headers := fmt.Appendf(nil, "NATS/1.0\r\n%s: 0\r\n%s: %d\r\n%s: %d\r\n%s: %d\r\n%s: %d\r\n%s: 00000000\r\n\r\n",
		hdrCount, hdrFirst, last.records, hdrPrev, seq-1, hdrFrom, last.time, hdrTo, last.time, hdrCRC)
	size := recordHead + len(last.subject) + 4 + len(headers) + recordSum
	r := binary.LittleEndian.AppendUint32(nil, uint32(size)|recordHeaders)
	r = binary.LittleEndian.AppendUint64(r, seq)
	r = binary.LittleEndian.AppendUint64(r, last.time)
	r = binary.LittleEndian.AppendUint16(r, uint16(len(last.subject)))
	r = append(r, last.subject...)
	r = binary.LittleEndian.AppendUint32(r, uint32(len(headers)))
	r = append(r, headers...)
	return append(r, recordSumOf(b.sum, r[4:20], last.subject, headers)...)
}

func replaceFile(name string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), "mending-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone if all went well
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
