package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"weir/configs/strict"
	"weir/ingest/event"
	"weir/ingest/eventlog"
)

// From is a place in the log: the beginning, the end, a time, or a batch.
// Exactly one of its fields is set; of Pos, partition and sequence count.
type From struct {
	All  bool
	New  bool
	Time time.Time
	Pos  *event.Position
}

// ParseFrom parses "all", "new", an RFC 3339 time, a duration back from now
// such as "10m" or "2d", or a position "partition/seq".
func ParseFrom(s string) (From, error) {
	switch s {
	case "all":
		return From{All: true}, nil
	case "new", "":
		return From{New: true}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return From{Time: t}, nil
	}
	if d, err := strict.ParseDuration(s); err == nil && d > 0 {
		return From{Time: time.Now().Add(-d)}, nil
	}
	if p, err := event.ParsePosition(s); err == nil {
		return From{Pos: &p}, nil
	}
	return From{}, fmt.Errorf("from=%q is none of: all, new, a time such as 2026-01-31T12:00:00Z, a duration back from now such as 10m or 2d, a position partition/seq", s)
}

// String returns the text that ParseFrom takes.
func (f From) String() string {
	switch {
	case f.All:
		return "all"
	case f.Pos != nil:
		return f.Pos.String()
	case !f.Time.IsZero():
		return f.Time.Format(time.RFC3339Nano)
	}
	return "new"
}

// After returns the sequence that a reader of partition p starts after, and
// whether the place concerns that partition at all.
func (f From) After(ctx context.Context, p *eventlog.Partition) (uint64, bool, error) {
	switch {
	case f.All:
		return 0, true, nil
	case f.New:
		return p.Head().Seq, true, nil
	case f.Pos != nil:
		return max(1, f.Pos.Seq) - 1, int(f.Pos.Partition) == p.ID(), nil
	}
	seq, err := p.SeqAt(ctx, f.Time)
	return max(1, seq) - 1, true, err
}

var errOfflineFollow = errors.New("weir is not running on this data directory, so nothing will arrive: read what is there, e.g. with from=all and without follow")

func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	from, err := s.from(r)
	if err != nil {
		s.fail(w, http.StatusBadRequest, err)
		return
	}
	limit, err := queryInt(r, "limit", 0)
	if err != nil {
		s.fail(w, http.StatusBadRequest, err)
		return
	}
	only := -1
	if t := q.Get("partition"); t != "" {
		if only, err = strconv.Atoi(t); err != nil || only < 0 || only >= s.deps.Log.Partitions() {
			s.fail(w, http.StatusBadRequest, fmt.Errorf("partition=%q: the log has partitions 0 to %d", t, s.deps.Log.Partitions()-1))
			return
		}
	}
	var flags [3]bool
	for i, name := range []string{"follow", "raw", "ticks"} {
		if flags[i], err = queryBool(r, name); err != nil {
			s.fail(w, http.StatusBadRequest, err)
			return
		}
	}
	follow := flags[0]
	if follow && s.deps.Runners == nil {
		s.fail(w, http.StatusServiceUnavailable, errOfflineFollow)
		return
	}
	f := filter{topic: q.Get("topic"), device: q.Get("device"), raw: flags[1], ticks: flags[2]}
	out := s.newStream(w)
	emit := func(l Line) error {
		if err := out.line(l); err != nil {
			return err
		}
		if limit > 0 && out.n >= limit {
			return errEnough
		}
		return nil
	}
	err = s.read(r.Context(), from, only, follow, func(b *event.Batch, d *eventlog.Damage) error {
		if d != nil {
			return emit(Line{Kind: "damage", Position: event.Position{Partition: uint16(d.Partition), Seq: d.From}, Error: d.Error()})
		}
		return f.lines(b, emit)
	}, out.flush)
	if errors.Is(err, errEnough) || r.Context().Err() != nil {
		err = nil
	}
	out.end(err)
}

// from reads the place that a request names.
func (s *Server) from(r *http.Request) (From, error) {
	f, err := ParseFrom(r.URL.Query().Get("from"))
	if err == nil && f.Pos != nil && int(f.Pos.Partition) >= s.deps.Log.Partitions() {
		err = fmt.Errorf("from=%q: the log has partitions 0 to %d", r.URL.Query().Get("from"), s.deps.Log.Partitions()-1)
	}
	return f, err
}

var errEnough = errors.New("enough")

// stream is an answer of newline-delimited JSON.
type stream struct {
	s   *Server
	w   http.ResponseWriter
	enc *json.Encoder
	n   int // lines so far
}

func (s *Server) newStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "application/x-ndjson")
	return &stream{s: s, w: w, enc: json.NewEncoder(w)}
}

func (t *stream) line(v any) error {
	t.n++
	return t.enc.Encode(v)
}

func (t *stream) flush() {
	if f, ok := t.w.(http.Flusher); ok {
		f.Flush()
	}
}

// end says what went wrong, if anything did: by the status if that can still be
// chosen, else in a last line.
func (t *stream) end(err error) {
	switch {
	case err == nil:
	case t.n == 0:
		t.s.fail(t.w, http.StatusInternalServerError, err)
	default:
		t.line(map[string]string{"error": err.Error()})
	}
}

// turn is how many batches of one partition are read before the next gets its turn.
const turn = 64

// read gives every batch from a place on to f: what was there when it began
// and, with follow, what arrives after that. Partitions take turns, so their
// batches are interleaved; each partition is in order. idle is called when
// there is nothing more for now.
func (s *Server) read(ctx context.Context, from From, only int, follow bool, f func(*event.Batch, *eventlog.Damage) error, idle func()) error {
	var readers []*reading
	defer func() {
		for _, r := range readers {
			r.Close()
		}
	}()
	for i := range s.deps.Log.Partitions() {
		p := s.deps.Log.Partition(i)
		after, concerns, err := from.After(ctx, p)
		if err != nil {
			return err
		}
		if concerns && (only < 0 || only == i) {
			r := &reading{Reader: p.NewReader(after, 0), until: p.Head().Seq, follow: follow}
			r.ended = !follow && after >= r.until
			readers = append(readers, r)
		}
	}
	for {
		waits := []reflect.SelectCase{{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())}}
		busy := false
		for _, r := range readers {
			more, err := r.some(ctx, f)
			if err != nil {
				return err
			}
			if more != nil {
				waits = append(waits, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(more)})
			}
			busy = busy || more == nil && !r.ended
		}
		if busy {
			continue
		}
		idle()
		if !follow {
			return nil
		}
		if n, _, _ := reflect.Select(waits); n == 0 {
			return ctx.Err()
		}
	}
}

// reading is one partition that a request reads.
type reading struct {
	*eventlog.Reader
	until  uint64 // the head when it began
	follow bool
	ended  bool
}

// some gives a turn's batches to f. At the end of the log it returns a channel
// that is closed when that has grown.
func (r *reading) some(ctx context.Context, f func(*event.Batch, *eventlog.Damage) error) (<-chan struct{}, error) {
	for range turn {
		if r.ended {
			return nil, nil
		}
		b, more, err := r.Poll(ctx)
		var d *eventlog.Damage
		switch {
		case errors.As(err, &d):
			r.ended = !r.follow && d.To >= r.until
			if err := f(nil, d); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, err
		case b == nil:
			r.ended = !r.follow
			return more, nil
		default:
			r.ended = !r.follow && b.Seq >= r.until
			if r.follow || b.Seq <= r.until {
				err = f(b, nil)
			}
			b.Release()
			if err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}
