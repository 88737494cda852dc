package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
)

const (
	headerSize   = 16
	minSegment   = 4 << 10
	segmentShare = 8 // a segment is this part of MaxBytes at most, which is what one drop costs
)

// ErrTooLarge is returned for an entry that does not fit in the queue at all.
var ErrTooLarge = errors.New("entry is larger than the queue")

// Options are the limits of a queue.
type Options struct {
	MaxBytes int64 // of all segments; at least 64 KiB
	Sync     bool  // wait for the disk, so that entries survive the power's end and not only the process's
}

// Queue is a queue in a directory. It is not safe for concurrent use, and a
// directory has one Queue at a time.
type Queue struct {
	dir      string
	opt      Options
	cursor   *cursor
	segments []*segment // oldest first; the last one is appended to
	bytes    int64      // of all segments
	next     uint64     // sequence number of the next entry
	damaged  uint64     // bytes that Open had to give up
}

// segment is one file and where its entries are.
type segment struct {
	path    string
	file    *os.File
	first   uint64  // sequence number of its first entry
	offsets []int64 // of its entries; entry i has the sequence number first+i
	size    int64
}

func (s *segment) last() uint64 { return s.first + uint64(len(s.offsets)) - 1 }

// Open opens the queue in dir, making it if there is none. A record that was
// being written when the power went is cut off; records that are damaged are
// given up, with what follows them in their segment, see Damaged.
func Open(dir string, opt Options) (*Queue, error) {
	opt.MaxBytes = max(opt.MaxBytes, 64<<10)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make queue directory: %w", err)
	}
	q := &Queue{dir: dir, opt: opt}
	var err error
	if q.cursor, err = openCursor(filepath.Join(dir, "cursor")); err != nil {
		return nil, fmt.Errorf("open queue cursor: %w", err)
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		return nil, errors.Join(err, q.Close())
	}
	slices.Sort(paths) // names are of one length, so this is their order
	q.next = q.cursor.done + 1
	for _, path := range paths {
		if err := q.load(path); err != nil {
			return nil, errors.Join(fmt.Errorf("open queue segment %s: %w", path, err), q.Close())
		}
	}
	return q, errors.Join(q.trim())
}

// load scans a segment and appends it to q.segments.
func (q *Queue) load(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return errors.Join(err, file.Close())
	}
	s := &segment{path: path, file: file}
	for s.size < int64(len(data)) {
		seq, body, err := decode(data[s.size:])
		if err != nil || len(s.offsets) > 0 && seq != s.last()+1 || len(s.offsets) == 0 && len(q.segments) > 0 && seq < q.next {
			break
		}
		if len(s.offsets) == 0 {
			s.first = seq
		}
		s.offsets = append(s.offsets, s.size)
		s.size += headerSize + int64(len(body))
	}
	q.damaged += uint64(int64(len(data)) - s.size)
	if len(s.offsets) == 0 {
		return errors.Join(file.Close(), os.Remove(path))
	}
	if err := file.Truncate(s.size); err != nil {
		return errors.Join(err, file.Close())
	}
	q.segments = append(q.segments, s)
	q.bytes += s.size
	q.next = max(q.next, s.last()+1)
	return nil
}

// decode takes the record at the start of b.
func decode(b []byte) (seq uint64, data []byte, err error) {
	if len(b) < headerSize {
		return 0, nil, errors.New("the record is cut short")
	}
	n := binary.LittleEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-headerSize) {
		return 0, nil, errors.New("the record is cut short")
	}
	b = b[:headerSize+int(n)]
	if crc32.Checksum(b[8:], crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(b[4:]) {
		return 0, nil, errors.New("the record's checksum is wrong")
	}
	return binary.LittleEndian.Uint64(b[8:]), b[headerSize:], nil
}

// encode makes the record of an entry.
func encode(seq uint64, data []byte) []byte {
	b := make([]byte, headerSize+len(data))
	binary.LittleEndian.PutUint32(b, uint32(len(data)))
	binary.LittleEndian.PutUint64(b[8:], seq)
	copy(b[headerSize:], data)
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// Append puts data at the end of the queue and returns its sequence number.
// When the queue is full, the oldest entries go; Dropped counts them.
func (q *Queue) Append(data []byte) (seq uint64, err error) {
	record := encode(q.next, data)
	if int64(len(record)) > q.opt.MaxBytes/segmentShare {
		return 0, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), q.opt.MaxBytes/segmentShare-headerSize)
	}
	for q.bytes+int64(len(record)) > q.opt.MaxBytes {
		if err := q.dropOldest(); err != nil {
			return 0, err
		}
	}
	s, err := q.tail(int64(len(record)))
	if err != nil {
		return 0, err
	}
	if _, err := s.file.WriteAt(record, s.size); err != nil {
		return 0, fmt.Errorf("append to queue: %w", err)
	}
	if err := q.sync(s.file); err != nil {
		return 0, err
	}
	s.offsets = append(s.offsets, s.size)
	s.size += int64(len(record))
	q.bytes += int64(len(record))
	q.next++
	return q.next - 1, nil
}

// tail is the segment to append n bytes to.
func (q *Queue) tail(n int64) (*segment, error) {
	limit := max(q.opt.MaxBytes/segmentShare, minSegment)
	if len(q.segments) > 0 {
		if s := q.segments[len(q.segments)-1]; s.size+n <= limit {
			return s, nil
		}
	}
	path := filepath.Join(q.dir, fmt.Sprintf("%020d.seg", q.next))
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("add queue segment: %w", err)
	}
	if err := q.syncDir(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	s := &segment{path: path, file: file, first: q.next}
	q.segments = append(q.segments, s)
	return s, nil
}

// dropOldest gives up the oldest segment and counts what was not acknowledged.
func (q *Queue) dropOldest() error {
	s := q.segments[0]
	if len(s.offsets) > 0 && s.last() > q.cursor.done {
		lost := s.last() - max(q.cursor.done, s.first-1)
		if err := q.cursor.set(s.last(), q.cursor.dropped+lost, q.opt.Sync); err != nil {
			return fmt.Errorf("move queue cursor: %w", err)
		}
	}
	return q.remove()
}

// remove deletes the oldest segment.
func (q *Queue) remove() error {
	s := q.segments[0]
	if err := errors.Join(s.file.Close(), os.Remove(s.path)); err != nil {
		return fmt.Errorf("remove queue segment: %w", err)
	}
	q.segments = q.segments[1:]
	q.bytes -= s.size
	return nil
}

// trim deletes the segments that are acknowledged as a whole.
func (q *Queue) trim() error {
	for len(q.segments) > 0 {
		s := q.segments[0]
		if len(s.offsets) == 0 || s.last() > q.cursor.done {
			return nil
		}
		if err := q.remove(); err != nil {
			return err
		}
	}
	return nil
}

// Ack removes every entry up to and including seq. One that is gone already
// changes nothing.
func (q *Queue) Ack(seq uint64) error {
	if seq >= q.next {
		return fmt.Errorf("acknowledge entry %d of a queue that ends at %d", seq, q.next-1)
	}
	if seq <= q.cursor.done {
		return nil
	}
	if err := q.cursor.set(seq, q.cursor.dropped, q.opt.Sync); err != nil {
		return fmt.Errorf("move queue cursor: %w", err)
	}
	return q.trim()
}

// First is the oldest entry that is neither acknowledged nor dropped. It is
// NextSeq if there is none.
func (q *Queue) First() uint64 {
	for _, s := range q.segments {
		if len(s.offsets) > 0 && s.last() > q.cursor.done {
			return max(s.first, q.cursor.done+1)
		}
	}
	return q.next
}

// At reads the oldest entry whose sequence number is seq or higher. ok is false
// when there is none yet.
func (q *Queue) At(seq uint64) (got uint64, data []byte, ok bool, err error) {
	seq = max(seq, q.First())
	for _, s := range q.segments {
		if len(s.offsets) == 0 || s.last() < seq {
			continue
		}
		got = max(seq, s.first)
		i := int(got - s.first)
		end := s.size
		if i+1 < len(s.offsets) {
			end = s.offsets[i+1]
		}
		record := make([]byte, end-s.offsets[i])
		if _, err := s.file.ReadAt(record, s.offsets[i]); err != nil {
			return 0, nil, false, fmt.Errorf("read queue entry %d: %w", got, err)
		}
		if _, data, err = decode(record); err != nil {
			return 0, nil, false, fmt.Errorf("read queue entry %d: %w", got, err)
		}
		return got, data, true, nil
	}
	return 0, nil, false, nil
}

// NextSeq is the sequence number that the next entry will have.
func (q *Queue) NextSeq() uint64 { return q.next }

// Len is the number of entries that are neither acknowledged nor dropped.
func (q *Queue) Len() uint64 {
	n := uint64(0)
	for _, s := range q.segments {
		if len(s.offsets) > 0 && s.last() > q.cursor.done {
			n += s.last() - max(q.cursor.done, s.first-1)
		}
	}
	return n
}

// Dropped is how many entries were given up because the queue was full, since
// its directory was made.
func (q *Queue) Dropped() uint64 { return q.cursor.dropped }

// Damaged is how many bytes Open could not read and gave up. After a crash
// that is part of one record.
func (q *Queue) Damaged() uint64 { return q.damaged }

// Close closes the files. Closing twice is fine.
func (q *Queue) Close() error {
	var errs []error
	for _, s := range q.segments {
		errs = append(errs, s.file.Close())
	}
	q.segments = nil
	if q.cursor != nil {
		errs = append(errs, q.cursor.file.Close())
		q.cursor = nil
	}
	return errors.Join(errs...)
}

func (q *Queue) sync(file *os.File) error {
	if !q.opt.Sync {
		return nil
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("sync queue: %w", err)
	}
	return nil
}

// syncDir makes a new segment's name durable.
func (q *Queue) syncDir() error {
	if !q.opt.Sync {
		return nil
	}
	dir, err := os.Open(q.dir)
	if err != nil {
		return fmt.Errorf("sync queue directory: %w", err)
	}
	defer dir.Close()
	return q.sync(dir)
}
