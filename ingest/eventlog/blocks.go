package eventlog

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server"
)

// The embedded server keeps a stream in files of records, one after the other:
//
//	length of the record, 4 bytes  sequence, 8  time, 8  length of the subject, 2  subject, message  checksum, 8
//
// all little-endian; the highest bit of the length says that the message has
// headers, the highest two of the sequence that it was erased, and that the
// record only notes a removal (nats-server, server/filestore.go, msgBlock).
//
// The checksum is HighwayHash-64 of all but the lengths; its key is the SHA-256
// of the stream's name, a dash and the file's number.
//
// The server reads a file by following the lengths and sequences, and looks at a
// checksum only when it is asked for that message. So it believes a sequence
// that the disk has changed: one changed in a high bit makes it note every
// sequence up to there as removed, which takes all memory there is and does not
// end; in a stream that keeps so many messages of a subject it looks for ever for
// one to remove; where a length is changed it drops the rest of the file without
// a word; and some damage ends the process. So the files are looked at before it
// starts, and what is damaged is taken out. In the log, where what is lost must
// be told to those who would have read it, markers take its place.
const (
	recordHead    = 22
	recordSum     = 8
	recordErased  = 1 << 63
	recordRemoval = 1 << 62
	recordHeaders = 1 << 31
)

// inspectFor bounds the time that is spent on looking for damage in the files
// of a partition, which may be many: the newest come first. It counts where the
// server trusts its index and reads no file; else it reads them all, too, and
// cuts off a file where it finds damage: then each of them is looked through.
const inspectFor = 2 * time.Second

// storedStream is a stream as the server keeps it.
type storedStream struct {
	name    string
	dir     string   // of its files
	keep    string   // where files that were damaged are kept
	files   []string // oldest first
	index   index
	buf     bytes.Buffer // of the file that is looked at
	damaged bool         // it was found to be
	log     *slog.Logger
}

// prepare makes the streams under dir safe to open. It fails if a partition of
// the log is damaged and was not mended: the server would cut off what is sound.
func prepare(dir string, log *slog.Logger) error {
	all, _ := filepath.Glob(filepath.Join(dir, "jetstream", server.DEFAULT_GLOBAL_ACCOUNT, "streams", "*", "msgs")) // the pattern is well-formed, so there is no error
	for _, msgs := range all {
		s := openStored(msgs, filepath.Join(dir, "damaged"), log)
		err := s.prepare()
		if err != nil && s.ofTheLog() && s.damaged {
			return fmt.Errorf("mend stream %s of the log: %w", s.name, err)
		}
		if err != nil {
			// The server may well be able to read what can't be looked at here.
			log.Error("the log's store was not looked through for damage", "stream", s.name, "err", err)
		}
	}
	return nil
}

func openStored(msgs, keep string, log *slog.Logger) *storedStream {
	s := &storedStream{name: filepath.Base(filepath.Dir(msgs)), dir: msgs, keep: keep, log: log}
	all, _ := filepath.Glob(filepath.Join(msgs, "*.blk"))
	for _, name := range all {
		if blockNumber(name) >= 0 {
			s.files = append(s.files, name)
		}
	}
	slices.SortFunc(s.files, func(a, b string) int { return cmp.Compare(blockNumber(a), blockNumber(b)) })
	s.index = s.readIndex()
	return s
}

// blockNumber returns the number of a file, or -1 for a name that the server
// doesn't give: somebody's copy is none of our business.
func blockNumber(name string) int {
	digits, _ := strings.CutSuffix(filepath.Base(name), ".blk")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || strconv.Itoa(n) != digits {
		return -1
	}
	return n
}

// index is what the server's index of a stream says.
type index struct {
	current bool // the files end as they did when it was written, so that the server goes by it
	last    uint64
}

// readIndex reads the stream's index: the numbers of messages and bytes, the
// first sequence and its time, the last sequence, much more, the checksum of the
// last record of the last file, and its own.
func (s *storedStream) readIndex() (x index) {
	b, err := os.ReadFile(filepath.Join(s.dir, "index.db"))
	if err != nil || len(b) < 32 {
		return x
	}
	key := sha256.Sum256([]byte(s.name))
	sum, err := highwayhash.New64(key[:])
	if err != nil {
		return x
	}
	body := b[:len(b)-recordSum]
	if !bytes.Equal(recordSumOf(sum, body), b[len(body):]) {
		return x
	}
	x.current = len(s.files) > 0 && bytes.Equal(body[len(body)-recordSum:], lastBytes(s.files[len(s.files)-1]))
	for at, i := 2, 0; i < 5; i++ { // a signed number takes as many bytes as an unsigned one
		v, n := binary.Uvarint(body[at:])
		if n <= 0 {
			return x
		}
		if at += n; i == 4 {
			x.last = v
		}
	}
	return x
}

// lastBytes returns where a file has the checksum of its last record.
func lastBytes(name string) []byte {
	b := make([]byte, recordSum)
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() < recordSum {
		return b // as the server has it
	} else if _, err := f.ReadAt(b, info.Size()-recordSum); err != nil {
		return nil
	}
	return b
}

func (s *storedStream) ofTheLog() bool { return strings.HasPrefix(s.name, partitionStreams) }

// partitionStreams is what the names of the partitions' streams begin with.
const partitionStreams = "WEIR_LOG_"

func (s *storedStream) prepare() error {
	left, _ := filepath.Glob(filepath.Join(s.dir, mending))
	for _, name := range left { // the process died while it mended
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	if s.ofTheLog() {
		var err error
		if s.damaged, err = s.looksDamaged(); err != nil || !s.damaged {
			return err
		}
		s.log.Error("a partition of the log is damaged: all of it is looked through", "stream", s.name, "files", len(s.files))
	}
	return s.mend()
}

// looksDamaged reports whether the server could be led astray by the files of a
// partition. It reads them if the server will, and else follows their records.
func (s *storedStream) looksDamaged() (bool, error) {
	deadline := time.Now().Add(inspectFor)
	after := uint64(0) // first sequence of the files that follow
	for _, name := range slices.Backward(s.files) {
		if s.index.current {
			if time.Now().After(deadline) {
				return false, nil
			}
			first, plain, err := s.follow(name, after)
			if err != nil {
				return false, err
			}
			if plain {
				if first > 0 {
					after = first
				}
				continue
			}
		}
		b, whole, err := s.read(name)
		if err != nil || !whole {
			return err == nil, err
		}
		if first := b.first(); first > 0 {
			after = first
		}
	}
	return false, nil
}

// window is how much of a file is read at once where its records are followed.
const window = 4 << 10

// follow reports whether the records of a partition's file follow each other to
// its end, with subjects as long as the partition's and with sequences that
// follow each other to that which the next file begins with (0: to the last one
// that the index knows). One whose records don't may still be whole. first is the
// sequence that it begins with.
func (s *storedStream) follow(name string, after uint64) (first uint64, plain bool, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, false, err
	}
	subject := len(s.subject())
	last, from, buf := uint64(0), int64(0), make([]byte, 0, window)
	for at := int64(0); at < info.Size(); {
		if at < from || at+recordHead > from+int64(len(buf)) {
			n, err := f.ReadAt(buf[:window], at)
			if err != nil && !errors.Is(err, io.EOF) {
				return 0, false, err
			}
			if from, buf = at, buf[:n]; n < recordHead {
				return 0, false, nil
			}
		}
		head := buf[at-from:]
		size := int64(binary.LittleEndian.Uint32(head) &^ recordHeaders)
		if size < recordHead+recordSum || size > info.Size()-at {
			return 0, false, nil
		}
		if seq := binary.LittleEndian.Uint64(head[4:]); seq&recordRemoval == 0 {
			if last > 0 && seq != last+1 || int(binary.LittleEndian.Uint16(head[20:])) != subject {
				return 0, false, nil
			}
			if first == 0 {
				first = seq
			}
			last = seq
		}
		at += size
	}
	if after == 0 {
		after = s.index.last + 1
	}
	return first, last == 0 || last+1 == after, nil
}

// subject returns the subject of a partition.
func (s *storedStream) subject() string {
	partition, _ := strings.CutPrefix(s.name, partitionStreams)
	return subjectOf(partition)
}

// forgetIndex removes the index of the stream whose files are in dir: the server
// makes it anew then, with a look at every checksum.
func forgetIndex(dir string) error {
	err := os.Remove(filepath.Join(dir, "index.db"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
