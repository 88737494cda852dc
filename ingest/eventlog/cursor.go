package eventlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Cursor says how far a consumer has come in a partition, and what became of
// every record on the way: Records - Start = Delivered + Filtered + Dead + Lost.
type Cursor struct {
	Consumer  string    `json:"consumer"`
	Partition int       `json:"partition"`
	Seq       uint64    `json:"seq"`     // last batch whose effects are done
	Records   uint64    `json:"records"` // records of the partition up to there
	Start     uint64    `json:"start"`   // records before the place where the consumer began
	Delivered uint64    `json:"delivered"`
	Filtered  uint64    `json:"filtered"`
	Dead      uint64    `json:"dead"`
	Lost      uint64    `json:"lost"` // expired or damaged before they were read
	Saved     time.Time `json:"saved"`
}

// Imbalance returns how many records the books don't account for: 0 unless
// weir has a defect.
func (c Cursor) Imbalance() int64 {
	return int64(c.Records-c.Start) - int64(c.Delivered+c.Filtered+c.Dead+c.Lost)
}

// ErrDamagedState is wrapped by LoadState's error when what was saved can't be
// read: the state must be derived from the log again.
var ErrDamagedState = errors.New("the saved state is damaged")

// ErrNoCursor is returned by LoadCursor and LoadState when nothing was saved.
var ErrNoCursor = errors.New("the consumer has no cursor yet")

func cursorKey(consumer string, partition int) string {
	return consumer + "." + strconv.Itoa(partition)
}

// SaveCursor keeps a cursor. It is durable when the call returns.
func (l *Log) SaveCursor(ctx context.Context, c Cursor) error {
	b, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("save the cursor of %s: %w", c.Consumer, err)
	}
	if _, err := l.cursors.Put(ctx, cursorKey(c.Consumer, c.Partition), b); err != nil {
		return fmt.Errorf("save the cursor of %s: %w", c.Consumer, err)
	}
	return nil
}

// LoadCursor returns the cursor that was saved last, or ErrNoCursor.
func (l *Log) LoadCursor(ctx context.Context, consumer string, partition int) (Cursor, error) {
	var c Cursor
	e, err := l.cursors.Get(ctx, cursorKey(consumer, partition))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return c, ErrNoCursor
	}
	if err != nil {
		return c, fmt.Errorf("load the cursor of %s: %w", consumer, err)
	}
	if err := json.Unmarshal(e.Value(), &c); err != nil {
		return c, fmt.Errorf("load the cursor of %s: %w", consumer, err)
	}
	return c, nil
}

// Cursors returns every cursor there is.
func (l *Log) Cursors(ctx context.Context) ([]Cursor, error) {
	keys, err := l.cursors.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the cursors: %w", err)
	}
	var out []Cursor
	for k := range keys.Keys() {
		name, part, ok := cutLast(k, ".")
		n, err := strconv.Atoi(part)
		if !ok || err != nil {
			continue
		}
		c, err := l.LoadCursor(ctx, name, n)
		if errors.Is(err, ErrNoCursor) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// SaveState keeps a consumer's state together with the cursor it belongs to:
// after a crash either both are the new ones or both the old ones.
func (l *Log) SaveState(ctx context.Context, c Cursor, state []byte) error {
	head, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("save the state of %s: %w", c.Consumer, err)
	}
	body := binary.LittleEndian.AppendUint32(make([]byte, 0, 8+len(head)+len(state)), uint32(len(head)))
	body = append(append(body, head...), state...)
	body = binary.LittleEndian.AppendUint32(body, crc32.Checksum(body, castagnoli))
	if _, err := l.state.Put(ctx, jetstream.ObjectMeta{Name: cursorKey(c.Consumer, c.Partition)}, bytes.NewReader(body)); err != nil {
		return fmt.Errorf("save the state of %s: %w", c.Consumer, err)
	}
	return l.SaveCursor(ctx, c)
}

// LoadState returns the state that was saved last and its cursor, or ErrNoCursor.
func (l *Log) LoadState(ctx context.Context, consumer string, partition int) (Cursor, []byte, error) {
	var c Cursor
	body, err := l.state.GetBytes(ctx, cursorKey(consumer, partition))
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return c, nil, ErrNoCursor
	}
	if err != nil {
		// In the process every chunk that is there comes at once.
		if l.emb != nil && Unavailable(err) || errors.Is(err, jetstream.ErrDigestMismatch) {
			err = fmt.Errorf("%w: %w", ErrDamagedState, err)
		}
		return c, nil, fmt.Errorf("load the state of %s: %w", consumer, err)
	}
	if len(body) < 8 || crc32.Checksum(body[:len(body)-4], castagnoli) != binary.LittleEndian.Uint32(body[len(body)-4:]) {
		return c, nil, fmt.Errorf("load the state of %s: its checksum is wrong: %w", consumer, ErrDamagedState)
	}
	n := int(binary.LittleEndian.Uint32(body))
	body = body[4 : len(body)-4]
	if n > len(body) {
		return c, nil, fmt.Errorf("load the state of %s: it is cut short: %w", consumer, ErrDamagedState)
	}
	if err := json.Unmarshal(body[:n], &c); err != nil {
		return c, nil, fmt.Errorf("load the state of %s: %w", consumer, err)
	}
	return c, body[n:], nil
}

// ForgetConsumer removes a consumer's cursor and state, so that it starts anew.
func (l *Log) ForgetConsumer(ctx context.Context, consumer string, partition int) error {
	key := cursorKey(consumer, partition)
	if err := l.cursors.Delete(ctx, key); err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return fmt.Errorf("forget the cursor of %s: %w", consumer, err)
	}
	if err := l.state.Delete(ctx, key); err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
		return fmt.Errorf("forget the state of %s: %w", consumer, err)
	}
	return nil
}

// Store returns a small key-value store of the log's, for what is not an
// event: retained messages, sessions, learnt field types. The name is made of
// letters, digits, - and _.
func (l *Log) Store(ctx context.Context, name string) (*Store, error) {
	s := &Store{name: name, log: l.cfg.Log}
	err := l.patiently(ctx, func(ctx context.Context) error {
		var err error
		if l.cfg.Inspect {
			s.kv, err = l.js.KeyValue(ctx, "weir_"+name)
			return err
		}
		s.kv, err = l.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "weir_" + name, Replicas: l.cfg.Replicas})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the store %s: %w", name, err)
	}
	return s, nil
}
