package eventlog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// findStores is openStores for a log that is looked at.
func (l *Log) findStores(ctx context.Context) error {
	var err error
	if l.meta, err = l.js.KeyValue(ctx, "weir_meta"); errors.Is(err, jetstream.ErrBucketNotFound) {
		if l.emb == nil {
			return fmt.Errorf("%w at %s", ErrNoLog, redactURL(l.cfg.URL))
		}
		return fmt.Errorf("%w in %s", ErrNoLog, l.cfg.Dir)
	}
	if err != nil {
		return fmt.Errorf("open the log's key-value store: %w", err)
	}
	if l.cursors, err = l.js.KeyValue(ctx, "weir_cursors"); err != nil {
		return fmt.Errorf("open the cursors: %w", err)
	}
	if l.state, err = l.js.ObjectStore(ctx, "weir_state"); err != nil {
		return fmt.Errorf("open the state store: %w", err)
	}
	if l.dead, err = l.js.Stream(ctx, "WEIR_DEAD"); err != nil {
		return fmt.Errorf("open the dead letters: %w", err)
	}
	return nil
}

func (l *Log) openStores(ctx context.Context) error {
	if l.cfg.Inspect {
		return l.findStores(ctx)
	}
	r := l.cfg.Replicas
	var err error
	if l.meta, err = l.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "weir_meta", Replicas: r}); err != nil {
		return fmt.Errorf("open the log's key-value store: %w", err)
	}
	if l.cursors, err = l.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "weir_cursors", Replicas: r, History: cursorHistory}); err != nil {
		return fmt.Errorf("open the cursors: %w", err)
	}
	if l.state, err = l.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: "weir_state", Replicas: r}); err != nil {
		return fmt.Errorf("open the state store: %w", err)
	}
	l.dead, err = l.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: "WEIR_DEAD", Subjects: []string{"weir.dead.>"}, Storage: jetstream.FileStorage, Replicas: r,
		MaxMsgsPerSubject: 1, // the same message dead-lettered again replaces itself
		MaxBytes:          4 << 30, Discard: jetstream.DiscardOld, AllowDirect: true,
	})
	if err != nil {
		return fmt.Errorf("open the dead letters: %w", err)
	}
	return nil
}

// cursorHistory is how many versions of a cursor are kept: where the disk has
// lost the newest, the one before it counts.
const cursorHistory = 8

// partitionCount returns the number of partitions the log was made with, or
// settles it for a new log. A log whose note of the number is lost has as many
// as it has streams.
func (l *Log) partitionCount(ctx context.Context) (int, error) {
	e, err := l.meta.Get(ctx, "partitions")
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		n, lerr := l.countStreams(ctx)
		if lerr != nil {
			return 0, lerr
		}
		if n > 0 {
			l.cfg.Log.Error("the note of the number of partitions is lost: the log's streams are counted", "partitions", n)
			return n, l.agree(n)
		}
		if l.cfg.Inspect {
			return 0, fmt.Errorf("%w: it has no partitions", ErrNoLog)
		}
		if n = l.cfg.Partitions; n == 0 {
			n = defaultPartitions()
		}
		if _, err := l.meta.Create(ctx, "partitions", []byte(strconv.Itoa(n))); err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
			return 0, fmt.Errorf("keep the number of partitions: %w", err)
		}
		e, err = l.meta.Get(ctx, "partitions")
		if err != nil {
			return 0, fmt.Errorf("read the number of partitions: %w", err)
		}
	} else if err != nil {
		return 0, fmt.Errorf("read the number of partitions: %w", err)
	}
	n, err := strconv.Atoi(string(e.Value()))
	if err != nil || n < 1 || n > 1024 {
		return 0, fmt.Errorf("the log says it has %q partitions, which is no number from 1 to 1024", e.Value())
	}
	return n, l.agree(n)
}

// agree fails when the config wants another number of partitions than the log has.
func (l *Log) agree(n int) error {
	if l.cfg.Partitions != 0 && l.cfg.Partitions != n && !l.cfg.Inspect {
		return fmt.Errorf("log.partitions is %d, but the log was made with %d and %w: set it to %d or use a new data_dir", l.cfg.Partitions, n, ErrPartitions, n)
	}
	return nil
}

// countStreams returns how many partitions have a stream.
func (l *Log) countStreams(ctx context.Context) (int, error) {
	n := 0
	names := l.js.StreamNames(ctx, jetstream.WithStreamListSubject("weir.log.*"))
	for name := range names.Name() {
		if i, err := strconv.Atoi(strings.TrimPrefix(name, partitionStreams)); err == nil {
			n = max(n, i+1)
		}
	}
	if err := names.Err(); err != nil {
		return 0, fmt.Errorf("count the log's streams: %w", err)
	}
	return n, nil
}
