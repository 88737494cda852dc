package eventlog

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Store keeps values by key beside the log, each durable when Save returns.
// Keys may be any text.
type Store struct {
	name string
	log  *slog.Logger
	kv   jetstream.KeyValue
}

// The server's keys know a few characters only, and no empty key.
func storeKey(key string) string { return "k" + base64.RawURLEncoding.EncodeToString([]byte(key)) }

// Save keeps a value.
func (s *Store) Save(ctx context.Context, key string, value []byte) error {
	if _, err := s.kv.Put(ctx, storeKey(key), value); err != nil {
		return fmt.Errorf("save %q in %s: %w", key, s.name, err)
	}
	return nil
}

// Delete removes a value, if it is there.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.kv.Purge(ctx, storeKey(key)); err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return fmt.Errorf("delete %q from %s: %w", key, s.name, err)
	}
	return nil
}

// Get returns a value, or nil if it is not there.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	e, err := s.kv.Get(ctx, storeKey(key))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get %q from %s: %w", key, s.name, err)
	}
	return e.Value(), nil
}

// loadIdle is how long a load waits for the next value before it takes those
// that are missing for lost.
const loadIdle = 5 * time.Second

// Load calls each with every key and its value, in no order.
func (s *Store) Load(ctx context.Context, each func(key string, value []byte) error) error {
	w, err := s.kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return fmt.Errorf("load %s: %w", s.name, err)
	}
	defer w.Stop()
	idle := time.NewTimer(loadIdle)
	defer idle.Stop()
	for {
		idle.Reset(loadIdle)
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return fmt.Errorf("load %s: the log's server stopped answering", s.name)
			}
			if e == nil {
				return nil // the end of what was there
			}
			key, err := base64.RawURLEncoding.DecodeString(e.Key()[1:])
			if err != nil {
				return fmt.Errorf("load %s: key %q: %w", s.name, e.Key(), err)
			}
			if err := each(string(key), e.Value()); err != nil {
				return err
			}
		case <-idle.C:
			// The server passes over a damaged value without a word, so that its
			// count is never reached.
			s.log.Error("a store beside the log is damaged: what could be read of it is used", "store", s.name)
			return nil
		case <-ctx.Done():
			return fmt.Errorf("load %s: %w", s.name, ctx.Err())
		}
	}
}
