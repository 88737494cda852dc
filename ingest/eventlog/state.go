package eventlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// A consumer's state is an object of the state store, under the key of its cursor:
//
//	length of the head, 4 bytes  head: JSON of a stateHead  state  CRC-32C of all before, 4 bytes
//
// A state of more than statePart bytes is in objects of its own, key.side.0,
// key.side.1, ..., and the head says how many there are. The new one is written
// to the side that is not in use, a or b; the head's object is put last and
// switches to it.

// statePart is how many bytes of a state an object holds at most. It bounds what
// is on its way to the store, and what a crash leaves behind there.
const statePart = 4 << 20

type stateHead struct {
	Cursor
	Parts *stateParts `json:"parts,omitempty"` // nil if the state follows the head
}

type stateParts struct {
	Side  string `json:"side"`
	Count int    `json:"count"`
	Size  int    `json:"size"` // of all, bytes
	Sum   uint32 `json:"sum"`  // CRC-32C of all
}

// ErrDamagedState is wrapped by LoadState's error when what was saved can't be
// read: the state must be derived from the log again.
var ErrDamagedState = errors.New("the saved state is damaged")

// sides remembers on which side the parts of a state are, by key; "" for none.
type sides struct {
	sync.Mutex
	used map[string]string
}

func (s *sides) set(key, side string) {
	s.Lock()
	defer s.Unlock()
	if s.used == nil {
		s.used = map[string]string{}
	}
	s.used[key] = side
}

// inUse returns the side that a state is on, as its head in the store says.
func (l *Log) inUse(ctx context.Context, key string) (string, error) {
	l.sides.Lock()
	side, known := l.sides.used[key]
	l.sides.Unlock()
	if known {
		return side, nil
	}
	head, _, err := l.stateHead(ctx, key)
	if err != nil && !errors.Is(err, ErrNoCursor) && !errors.Is(err, ErrDamagedState) {
		return "", err
	}
	if head.Parts != nil {
		side = head.Parts.Side
	}
	l.sides.set(key, side)
	return side, nil
}

func partName(key, side string, n int) string { return key + "." + side + "." + strconv.Itoa(n) }

// SaveState keeps a consumer's state together with the cursor it belongs to:
// after a crash either both are the new ones or both the old ones.
func (l *Log) SaveState(ctx context.Context, c Cursor, state []byte) error {
	return l.SaveStateFrom(ctx, c, bytes.NewReader(state))
}

// SaveStateFrom is SaveState for a state that is read while it is being saved.
// If it ends in an error, the reader's included, the state that was saved
// before is still there.
func (l *Log) SaveStateFrom(ctx context.Context, c Cursor, state io.Reader) error {
	if err := l.saveState(ctx, c, state); err != nil {
		return fmt.Errorf("save the state of %s: %w", c.Consumer, err)
	}
	return l.SaveCursor(ctx, c)
}

// SaveSharedState keeps a state that the runs of a consumer in all partitions
// share; they save their cursors themselves. LoadState returns it for partition 0.
func (l *Log) SaveSharedState(ctx context.Context, consumer string, state []byte) error {
	if err := l.saveState(ctx, Cursor{Consumer: consumer}, bytes.NewReader(state)); err != nil {
		return fmt.Errorf("save the state of %s: %w", consumer, err)
	}
	return nil
}

func (l *Log) saveState(ctx context.Context, c Cursor, state io.Reader) error {
	key := cursorKey(c.Consumer, c.Partition)
	old, err := l.inUse(ctx, key)
	if err != nil {
		return err
	}
	head := stateHead{Cursor: c}
	var buf bytes.Buffer
	last, err := fill(&buf, state)
	if err != nil {
		return err
	}
	side := ""
	if !last {
		if side = "a"; old == "a" {
			side = "b"
		}
		if head.Parts, err = l.putParts(ctx, key, side, &buf, state); err != nil {
			return err
		}
		buf.Reset()
	}
	text, err := json.Marshal(head)
	if err != nil {
		return err
	}
	body := binary.LittleEndian.AppendUint32(make([]byte, 0, 8+len(text)+buf.Len()), uint32(len(text)))
	body = append(append(body, text...), buf.Bytes()...)
	body = binary.LittleEndian.AppendUint32(body, crc32.Checksum(body, castagnoli))
	if err := l.putObject(ctx, key, body); err != nil {
		return err
	}
	l.sides.set(key, side)
	if old != "" && old != side {
		_ = l.removeParts(ctx, key, old) // what stays is removed with the next state of that side
	}
	return nil
}

// fill reads the next part of a state and reports whether it is the last.
func fill(buf *bytes.Buffer, state io.Reader) (last bool, err error) {
	n, err := io.CopyN(buf, state, statePart)
	switch {
	case err == io.EOF:
		return true, nil
	case err != nil:
		return false, err
	}
	return n < statePart, nil
}

// putParts writes a state whose first part is in buf.
func (l *Log) putParts(ctx context.Context, key, side string, buf *bytes.Buffer, state io.Reader) (*stateParts, error) {
	p := &stateParts{Side: side}
	for last := false; buf.Len() > 0; {
		p.Sum = crc32.Update(p.Sum, castagnoli, buf.Bytes())
		p.Size += buf.Len()
		if err := l.putObject(ctx, partName(key, side, p.Count), buf.Bytes()); err != nil {
			return nil, err
		}
		p.Count++
		buf.Reset()
		if last {
			break
		}
		var err error
		if last, err = fill(buf, state); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (l *Log) putObject(ctx context.Context, name string, b []byte) error {
	ctx, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	_, err := l.state.Put(ctx, jetstream.ObjectMeta{Name: name}, bytes.NewReader(b))
	return err
}

// removeParts removes the parts of a side.
func (l *Log) removeParts(ctx context.Context, key, side string) error {
	for n := 0; ; n++ {
		_, err := l.state.GetInfo(ctx, partName(key, side, n))
		if errors.Is(err, jetstream.ErrObjectNotFound) {
			return nil
		}
		if err == nil {
			err = l.state.Delete(ctx, partName(key, side, n))
		}
		if err != nil {
			return err
		}
	}
}

func (l *Log) forgetState(ctx context.Context, key string) error {
	err := l.state.Delete(ctx, key)
	if err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
		return err
	}
	l.sides.set(key, "")
	return errors.Join(l.removeParts(ctx, key, "a"), l.removeParts(ctx, key, "b"))
}

// getObject reads an object. One that is not there is ErrNoCursor.
func (l *Log) getObject(ctx context.Context, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	b, err := l.state.GetBytes(ctx, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, ErrNoCursor
	}
	// In the process every chunk that is there comes at once.
	if err != nil && (l.emb != nil && Unavailable(err) || errors.Is(err, jetstream.ErrDigestMismatch)) {
		err = fmt.Errorf("%w: %w", ErrDamagedState, err)
	}
	return b, err
}

// stateHead reads the head of a state and what follows it.
func (l *Log) stateHead(ctx context.Context, key string) (h stateHead, state []byte, err error) {
	body, err := l.getObject(ctx, key)
	if err != nil {
		return h, nil, err
	}
	if len(body) < 8 || crc32.Checksum(body[:len(body)-4], castagnoli) != binary.LittleEndian.Uint32(body[len(body)-4:]) {
		return h, nil, fmt.Errorf("its checksum is wrong: %w", ErrDamagedState)
	}
	n := int(binary.LittleEndian.Uint32(body))
	body = body[4 : len(body)-4]
	if n > len(body) {
		return h, nil, fmt.Errorf("it is cut short: %w", ErrDamagedState)
	}
	if err := json.Unmarshal(body[:n], &h); err != nil {
		return h, nil, err
	}
	return h, body[n:], nil
}

// LoadState returns the state that was saved last and its cursor, or ErrNoCursor.
func (l *Log) LoadState(ctx context.Context, consumer string, partition int) (Cursor, []byte, error) {
	key := cursorKey(consumer, partition)
	h, state, err := l.stateHead(ctx, key)
	if err == nil && h.Parts != nil {
		state, err = l.getParts(ctx, key, h.Parts)
	}
	if errors.Is(err, ErrNoCursor) {
		return Cursor{}, nil, ErrNoCursor
	}
	if err != nil {
		return Cursor{}, nil, fmt.Errorf("load the state of %s: %w", consumer, err)
	}
	return h.Cursor, state, nil
}

func (l *Log) getParts(ctx context.Context, key string, p *stateParts) ([]byte, error) {
	var state []byte
	for n := range p.Count {
		b, err := l.getObject(ctx, partName(key, p.Side, n))
		if errors.Is(err, ErrNoCursor) {
			return nil, fmt.Errorf("part %d of %d is missing: %w", n, p.Count, ErrDamagedState)
		}
		if err != nil {
			return nil, fmt.Errorf("part %d of %d: %w", n, p.Count, err)
		}
		if state == nil {
			state = make([]byte, 0, p.Size)
		}
		state = append(state, b...)
	}
	if len(state) != p.Size || crc32.Checksum(state, castagnoli) != p.Sum {
		return nil, fmt.Errorf("the checksum of its parts is wrong: %w", ErrDamagedState)
	}
	return state, nil
}
