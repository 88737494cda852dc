package eventlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
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

// cursorSubjects is what the subjects of the cursors' store begin with.
const cursorSubjects = "$KV.weir_cursors."

// Cursors returns every cursor that can be read.
func (l *Log) Cursors(ctx context.Context) ([]Cursor, error) {
	// The keys are taken from the store's index: a listing reads the values, and
	// waits for good for one that is damaged.
	stream, err := l.js.Stream(ctx, "KV_weir_cursors")
	if err != nil {
		return nil, fmt.Errorf("list the cursors: %w", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(cursorSubjects+">"))
	if err != nil {
		return nil, fmt.Errorf("list the cursors: %w", err)
	}
	var out []Cursor
	for _, subject := range slices.Sorted(maps.Keys(info.State.Subjects)) {
		k := strings.TrimPrefix(subject, cursorSubjects)
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

// ForgetConsumer removes a consumer's cursor and state, so that it starts anew.
func (l *Log) ForgetConsumer(ctx context.Context, consumer string, partition int) error {
	key := cursorKey(consumer, partition)
	if err := l.cursors.Delete(ctx, key); err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return fmt.Errorf("forget the cursor of %s: %w", consumer, err)
	}
	if err := l.forgetState(ctx, key); err != nil {
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
