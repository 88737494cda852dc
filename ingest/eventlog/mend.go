package eventlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats.go"
)

// place is where in a file a record is, or something that is none.
type place struct {
	from, to int
	sound    bool
	torn     bool   // begun when the process died, and not acknowledged
	seq      uint64 // of a sound record that holds a message, else 0
}

// read returns what a file of the stream consists of, and whether the server
// can open it as it is: all is sound but for a last record that was not written
// whole when the process or the machine died. The block is good until the next
// one is read.
func (s *storedStream) read(name string) (*block, bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	s.buf.Reset()
	if _, err := s.buf.ReadFrom(f); err != nil {
		return nil, false, err
	}
	b := &block{name: name, stream: s.name, bytes: s.buf.Bytes()}
	if b.sum, err = recordHash(s.name, blockNumber(name)); err != nil {
		return nil, false, err
	}
	b.scan()
	// Where the index knows the end of the last file nothing was under way.
	if n := len(b.places); n > 0 && name == s.files[len(s.files)-1] && !s.index.current {
		last, before := &b.places[n-1], uint64(0)
		for _, p := range b.places {
			before = max(before, p.seq)
		}
		last.torn = !last.sound && b.unfinished(b.bytes[last.from:], before)
	}
	whole := !slices.ContainsFunc(b.places, func(p place) bool { return !p.sound && !p.torn })
	return b, whole, nil
}

// unfinished reports whether r can be what came to the disk of a record: it is
// shorter than that, or ends in the zeros of a file that had grown before. The
// record before it has the sequence given, 0 if that is not known.
func (b *block) unfinished(r []byte, before uint64) bool {
	zeros := len(r) - len(bytes.TrimRight(r, "\x00"))
	if r = r[:len(r)-zeros]; len(r) == 0 {
		return true
	}
	all := len(r) + zeros
	head := make([]byte, recordHead)
	if copy(head, r); len(r) < recordHead {
		return all < recordHead+recordSum || zeros >= recordSum
	}
	size := int(binary.LittleEndian.Uint32(head) &^ recordHeaders)
	if size < recordHead+recordSum || size > largestRecord || size <= all && zeros < recordSum {
		return false
	}
	seq, subject := binary.LittleEndian.Uint64(head[4:]), int(binary.LittleEndian.Uint16(head[20:]))
	if seq&(recordRemoval|recordErased) != 0 {
		return subject == 0
	}
	if before > 0 && (seq <= before || b.ofTheLog() && seq != before+1) {
		return false
	}
	if r = r[recordHead:]; len(r) >= subject {
		return b.has(r[:subject])
	}
	partition, _ := strings.CutPrefix(b.stream, partitionStreams)
	return !b.ofTheLog() || strings.HasPrefix(subjectOf(partition), string(r))
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

// first returns the sequence of the file's first message, 0 if there is none.
func (b *block) first() uint64 {
	for _, p := range b.places {
		if p.seq > 0 {
			return p.seq
		}
	}
	return 0
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
	switch {
	case seq&recordRemoval != 0 && len(data) > 0, seq&recordErased != 0 && subject > 0:
		return 0
	case seq&(recordRemoval|recordErased) == 0 && !b.has(data[:subject]):
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

// largestRecord is the largest that the server takes for one.
const largestRecord = 32 << 20

func (b *block) ofTheLog() bool { return strings.HasPrefix(b.stream, partitionStreams) }

// subjects is what the subjects begin with of the streams whose names begin so.
var subjects = []struct{ stream, subject string }{{"KV_", "$KV."}, {"OBJ_", "$O."}}

// has reports whether a subject can be one of the stream's. The checksum says
// nothing of its length.
func (b *block) has(subject []byte) bool {
	if partition, ok := strings.CutPrefix(b.stream, partitionStreams); ok {
		return string(subject) == subjectOf(partition)
	}
	for _, s := range subjects {
		if name, ok := strings.CutPrefix(b.stream, s.stream); ok && !bytes.HasPrefix(subject, []byte(s.subject+name+".")) {
			return false
		}
	}
	for _, c := range subject {
		if c <= ' ' || c == 0x7f || c == '{' { // what follows it is a length, or JSON
			return false
		}
	}
	return len(subject) > 0 && utf8.Valid(subject)
}

func recordSumOf(sum hash.Hash, parts ...[]byte) []byte {
	sum.Reset()
	for _, p := range parts {
		sum.Write(p)
	}
	return sum.Sum(make([]byte, 0, recordSum))
}

// mend takes what is damaged out of the stream's files. All that can fail for
// want of room is done before anything changes. Where it ends in the middle the
// rest is mended at the next start: the index goes first.
func (s *storedStream) mend() error {
	all := make([]content, len(s.files))
	damaged := []int{}
	sound := false
	for i, name := range s.files {
		b, whole, err := s.read(name)
		if err != nil {
			return err
		}
		all[i] = b.content()
		sound = sound || all[i].last.seq > 0
		if !whole {
			damaged = append(damaged, i)
		}
	}
	if len(damaged) == 0 || !sound { // with nothing sound there is nothing to go by
		return nil
	}
	s.damaged = true
	fresh := map[string]string{}
	defer func() {
		for _, name := range fresh {
			os.Remove(name) // gone if all went well
		}
	}()
	var m *markers
	if s.ofTheLog() {
		m = &markers{subject: s.subject()}
	}
	for i, name := range s.files {
		if !slices.Contains(damaged, i) {
			if m != nil && all[i].last.seq > 0 {
				m.last = all[i].last
			}
			continue
		}
		b, _, err := s.read(name)
		if err != nil {
			return err
		}
		if m != nil {
			m.after = lastRecord{}
			for _, c := range slices.Backward(all[i+1:]) {
				if c.first.seq > 0 {
					m.after = c.first
				}
			}
			if m.end = 0; i == damaged[len(damaged)-1] {
				m.end = max(s.index.last, m.last.seq, all[i].last.seq)
				if !s.index.current {
					m.end = max(s.index.last, m.last.seq+1, all[i].last.seq+1)
				}
			}
		}
		kept, places := b.without(m)
		s.log.Error("the log's store is damaged: what is damaged is taken out", "file", name, "places", places, "bytes", len(b.bytes)-len(kept), "sound", len(b.places)-places, "kept", s.keep)
		if fresh[name], err = writeBeside(name, kept); err != nil {
			return fmt.Errorf("take out what is damaged: %w", err)
		}
		if err := s.keepDamaged(name, b.bytes); err != nil {
			return fmt.Errorf("keep what is damaged: %w", err)
		}
	}
	if err := forgetIndex(s.dir); err != nil {
		return err
	}
	for _, i := range slices.Backward(damaged) { // the end first, of which only the index knew where it was
		if err := os.Rename(fresh[s.files[i]], s.files[i]); err != nil {
			return err
		}
	}
	return syncDir(s.dir) // before the server appends to a file whose name would be lost
}

// keepDamaged keeps a file as it was.
func (s *storedStream) keepDamaged(name string, b []byte) error {
	if err := os.MkdirAll(s.keep, 0o700); err != nil {
		return err
	}
	if err := sameOwner(s.keep, s.dir); err != nil {
		return err
	}
	kept := filepath.Join(s.keep, fmt.Sprintf("%s-%s.%d", s.name, filepath.Base(name), time.Now().UnixNano()))
	if os.Link(name, kept) == nil { // takes no room
		return nil
	}
	return os.WriteFile(kept, b, 0o600)
}

// content is what the files around a damaged one are asked for.
type content struct{ first, last lastRecord }

func (b *block) content() (c content) {
	for _, p := range b.places {
		if p.seq == 0 {
			continue
		}
		record := b.bytes[p.from:p.to]
		if c.first.seq == 0 {
			c.first = firstRecord(record, p.seq)
		}
		c.last.take(record, p.seq)
	}
	return c
}

// firstRecord is what is known of a message by itself: records are those before it.
func firstRecord(record []byte, seq uint64) lastRecord {
	f := lastRecord{seq: seq, time: binary.LittleEndian.Uint64(record[12:])}
	if h, ok := headerOf(record); ok {
		f.records = h.first
	}
	return f
}

// lastRecord is the last sound record that was passed, 0 for none.
type lastRecord struct {
	seq     uint64
	records uint64 // of the log up to there
	time    uint64
}

func (l *lastRecord) take(record []byte, seq uint64) {
	l.seq = seq
	if t := binary.LittleEndian.Uint64(record[12:]); t > 0 { // one that was erased has none
		l.time = t
	}
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

// markers is what markers of a file's missing messages are made from.
type markers struct {
	subject string
	last    lastRecord // before the file, and then before each place
	after   lastRecord // behind the file
	end     uint64     // the last sequence where there is nothing behind it; 0 where it is not to be marked
}

// without returns the file without what is damaged, and in how many places that
// was. With m a marker stands for each message of a partition that is missing
// there, and for one at the end of the log.
func (b *block) without(m *markers) (kept []byte, places int) {
	for i, p := range b.places {
		if p.sound {
			kept = append(kept, b.bytes[p.from:p.to]...)
			if p.seq > 0 && m != nil {
				m.last.take(b.bytes[p.from:p.to], p.seq)
			}
			continue
		}
		if places++; m == nil || p.torn {
			continue
		}
		next := m.after
		for _, q := range b.places[i+1:] {
			if q.seq > 0 {
				next = firstRecord(b.bytes[q.from:q.to], q.seq)
				break
			}
		}
		kept = b.mark(kept, m, next, (p.to-p.from)/(recordHead+len(m.subject)+recordSum))
	}
	return kept, places
}

// mark appends markers of what is missing between the last record and the next,
// in a place that had room for so many.
func (b *block) mark(kept []byte, m *markers, next lastRecord, room int) []byte {
	known := next.seq > 0 // else the log ends here
	if !known {
		next.seq = m.end + 1
	}
	if next.seq <= m.last.seq+1 { // it was no message
		return kept
	}
	// Where the log begins, and where files are missing, the one before the next
	// is enough: readers tell the whole gap by it.
	if m.last.seq == 0 || next.seq-1-m.last.seq > uint64(room) {
		if m.last.seq == 0 {
			m.last.time = next.time
		}
		m.last.records = max(m.last.records, max(next.records, 1)-1)
		m.last.seq = next.seq - 2
	}
	for seq := m.last.seq + 1; seq < next.seq; seq++ {
		m.last.records++ // each held one at least
		if known && next.records > 0 {
			m.last.records = min(m.last.records, next.records)
		}
		kept = append(kept, b.marker(m, seq)...)
	}
	m.last.seq = next.seq - 1
	return kept
}

// marker returns a record like those that raise writes.
func (b *block) marker(m *markers, seq uint64) []byte {
	headers := fmt.Appendf(nil, "NATS/1.0\r\n%s: 0\r\n%s: %d\r\n%s: %d\r\n%s: %d\r\n%s: %d\r\n%s: 00000000\r\n\r\n",
		hdrCount, hdrFirst, m.last.records, hdrPrev, seq-1, hdrFrom, m.last.time, hdrTo, m.last.time, hdrCRC)
	size := recordHead + len(m.subject) + 4 + len(headers) + recordSum
	r := binary.LittleEndian.AppendUint32(nil, uint32(size)|recordHeaders)
	r = binary.LittleEndian.AppendUint64(r, seq)
	r = binary.LittleEndian.AppendUint64(r, m.last.time)
	r = binary.LittleEndian.AppendUint16(r, uint16(len(m.subject)))
	r = append(r, m.subject...)
	r = binary.LittleEndian.AppendUint32(r, uint32(len(headers)))
	r = append(r, headers...)
	return append(r, recordSumOf(b.sum, r[4:20], []byte(m.subject), headers)...)
}

// mending matches the names of files that are written beside those they replace.
const mending = "mending-*"

// writeBeside writes what a file is to be replaced by, for the same owner.
func writeBeside(name string, b []byte) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(name), mending)
	if err != nil {
		return "", err
	}
	_, err = f.Write(b)
	if err == nil {
		err = sameOwner(f.Name(), name)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return f.Name(), err
}
