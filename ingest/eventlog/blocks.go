package eventlog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

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
// of a partition, which may be many: the newest come first.
const inspectFor = 5 * time.Second

// maxGap is how far apart two sequences that follow each other in a file of the
// log are believed to be. They have no gaps but for damage.
const maxGap = 1 << 20

// storedStream is a stream as the server keeps it.
type storedStream struct {
	name  string
	dir   string // of its files
	files []string
	index time.Time // when its index was written, zero if there is none
	log   *slog.Logger
}

// prepare makes the streams under dir safe to open.
func prepare(dir string, log *slog.Logger) {
	all, _ := filepath.Glob(filepath.Join(dir, "jetstream", server.DEFAULT_GLOBAL_ACCOUNT, "streams", "*", "msgs")) // the pattern is well-formed, so there is no error
	for _, msgs := range all {
		s := storedStream{name: filepath.Base(filepath.Dir(msgs)), dir: msgs, log: log}
		s.files, _ = filepath.Glob(filepath.Join(msgs, "*.blk"))
		slices.SortFunc(s.files, func(a, b string) int { return cmp.Compare(blockNumber(a), blockNumber(b)) })
		if info, err := os.Stat(filepath.Join(msgs, "index.db")); err == nil {
			s.index = info.ModTime()
		}
		if err := s.prepare(); err != nil {
			// The server may well be able to read what can't be mended.
			log.Error("the log's store was not looked through for damage", "stream", s.name, "err", err)
		}
	}
}

func blockNumber(name string) int {
	n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(name), ".blk"))
	if err != nil {
		return -1 // the server knows no such file
	}
	return n
}

func (s *storedStream) ofTheLog() bool { return strings.HasPrefix(s.name, "WEIR_LOG_") }

func (s *storedStream) prepare() error {
	if s.ofTheLog() {
		if damaged, err := s.looksDamaged(); err != nil || !damaged {
			return err
		}
		s.log.Error("a partition of the log is damaged: all of it is looked through", "stream", s.name, "files", len(s.files))
	}
	return s.mend()
}

// looksDamaged reports whether the server could be led astray by the files of a
// partition. It reads all of those that the server would, too, because its index
// is older, and follows the records of the others.
func (s *storedStream) looksDamaged() (bool, error) {
	deadline := time.Now().Add(inspectFor)
	for _, name := range slices.Backward(s.files) {
		if time.Now().After(deadline) {
			return false, nil
		}
		info, err := os.Stat(name)
		if err != nil {
			return false, err
		}
		whole := true
		if info.ModTime().After(s.index) {
			_, whole, err = s.read(name)
		} else {
			whole, err = s.follow(name)
		}
		if err != nil || !whole {
			return !whole, err
		}
	}
	return false, nil
}

// follow reports whether the records of a partition's file follow each other to
// its end, with sequences that do, and have subjects as long as the partition's.
func (s *storedStream) follow(name string) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	var head [recordHead]byte
	partition, _ := strings.CutPrefix(s.name, "WEIR_LOG_")
	subject := len(subjectOf(partition))
	last := uint64(0)
	at := int64(0)
	for at < info.Size() {
		if _, err := f.ReadAt(head[:], at); errors.Is(err, io.EOF) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		size := int64(binary.LittleEndian.Uint32(head[:]) &^ recordHeaders)
		if size < recordHead+recordSum {
			return false, nil
		}
		if seq := binary.LittleEndian.Uint64(head[4:]); seq&recordRemoval == 0 {
			seq &^= recordErased
			if int(binary.LittleEndian.Uint16(head[20:])) != subject || last > 0 && (seq <= last || seq-last > maxGap) {
				return false, nil
			}
			last = seq
		}
		at += size
	}
	return at == info.Size(), nil
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
