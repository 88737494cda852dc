package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sort"

	"weir/ingest/consume"
	"weir/ingest/eventlog"
)

// Entry is the books of one consumer in one partition, counted in records of
// the log (publishes, ticks, alerts, ...):
// Received = Delivered + Filtered + Dead + Lost + Pending.
type Entry struct {
	Consumer  string `json:"consumer"`
	Partition int    `json:"partition"`
	Received  uint64 `json:"received"`      // records since the consumer began
	Delivered uint64 `json:"delivered"`     // their effects are done
	Filtered  uint64 `json:"filtered"`      // not for this consumer
	Dead      uint64 `json:"dead_lettered"` // it could not deliver them; a replay doesn't change this
	Lost      uint64 `json:"lost"`          // expired or damaged before they were read
	Pending   uint64 `json:"pending"`       // not read yet
	Balanced  bool   `json:"balanced"`      // the sum is right
	Cursor    uint64 `json:"cursor"`        // sequence of the last batch it is done with
	Head      uint64 `json:"head"`          // sequence of the last batch of the partition
}

// Audit is the answer of /api/v1/audit. Entries are in the order of their
// consumers and partitions.
type Audit struct {
	Balanced    bool             `json:"balanced"` // every entry is
	Entries     []Entry          `json:"entries"`
	DeadLetters uint64           `json:"dead_letters"` // stored now, of all consumers
	Partitions  []PartitionAudit `json:"partitions"`
}

// PartitionAudit is what a partition of the log holds.
type PartitionAudit struct {
	Partition int    `json:"partition"`
	First     uint64 `json:"first"`   // sequence of the oldest batch there is; past Head if there is none
	Head      uint64 `json:"head"`    // sequence of the newest batch; 0 if there never was one
	Records   uint64 `json:"records"` // since the partition was made
}

func (s *Server) audit(w http.ResponseWriter, r *http.Request) {
	a, err := s.Audit(r.Context())
	s.answer(w, a, err, false)
}

// Audit balances the books of every consumer in every partition.
func (s *Server) Audit(ctx context.Context) (Audit, error) {
	a := Audit{Balanced: true, Entries: []Entry{}}
	cursors, err := s.cursors(ctx)
	if err != nil {
		return a, err
	}
	for i := range s.deps.Log.Partitions() {
		p := s.deps.Log.Partition(i)
		first, err := p.First(ctx)
		if err != nil {
			return a, err
		}
		h := p.Head()
		a.Partitions = append(a.Partitions, PartitionAudit{Partition: i, First: first, Head: h.Seq, Records: h.Records})
	}
	for _, c := range cursors {
		if c.Partition >= len(a.Partitions) {
			continue
		}
		h := a.Partitions[c.Partition]
		e := Entry{Consumer: c.Consumer, Partition: c.Partition, Delivered: c.Delivered, Filtered: c.Filtered,
			Dead: c.Dead, Lost: c.Lost, Cursor: c.Seq, Head: h.Head}
		// The head may be older than the cursor: they are not read at one moment.
		records := max(h.Records, c.Records)
		e.Received, e.Pending = records-c.Start, records-c.Records
		e.Balanced = c.Imbalance() == 0
		a.Balanced = a.Balanced && e.Balanced
		a.Entries = append(a.Entries, e)
	}
	sort.Slice(a.Entries, func(i, j int) bool {
		x, y := a.Entries[i], a.Entries[j]
		return x.Consumer < y.Consumer || x.Consumer == y.Consumer && x.Partition < y.Partition
	})
	a.DeadLetters, err = s.deps.Log.CountDead(ctx)
	return a, err
}

// cursors returns the live ones of a running weir, and the saved ones of consumers
// that do not run.
func (s *Server) cursors(ctx context.Context) ([]eventlog.Cursor, error) {
	saved, err := s.deps.Log.Cursors(ctx)
	if err != nil {
		return nil, err
	}
	if s.deps.Runners == nil {
		return saved, nil
	}
	var out []eventlog.Cursor
	live := map[string]bool{}
	for _, r := range s.deps.Runners() {
		st := r.Status()
		if st.State == "starting" {
			continue
		}
		live[fmt.Sprint(st.Consumer, "/", st.Partition)] = true
		out = append(out, st.Cursor)
	}
	for _, c := range saved {
		if !live[fmt.Sprint(c.Consumer, "/", c.Partition)] {
			out = append(out, c)
		}
	}
	return out, nil
}

func (s *Server) listConsumers(w http.ResponseWriter, r *http.Request) {
	list := []consume.Status{}
	if s.deps.Runners != nil {
		for _, run := range s.deps.Runners() {
			list = append(list, run.Status())
		}
	} else {
		cursors, err := s.cursors(r.Context())
		if err != nil {
			s.fail(w, http.StatusInternalServerError, err)
			return
		}
		for _, c := range cursors {
			st := consume.Status{Consumer: c.Consumer, Partition: c.Partition, State: "stopped", Cursor: c, Since: c.Saved}
			if c.Partition < s.deps.Log.Partitions() {
				st.Head = s.deps.Log.Partition(c.Partition).Head()
				st.Lag = st.Head.Records - min(c.Records, st.Head.Records)
			}
			list = append(list, st)
		}
	}
	s.reply(w, map[string]any{"consumers": list})
}

// ErrUnknownConsumer is returned by Deps.Seek for a name that no consumer has.
var ErrUnknownConsumer = errors.New("unknown consumer")

func (s *Server) replayConsumer(w http.ResponseWriter, r *http.Request) {
	if s.deps.Seek == nil {
		s.notRunning(w)
		return
	}
	from, err := s.from(r)
	if err != nil {
		s.fail(w, http.StatusBadRequest, err)
		return
	}
	switch err := s.deps.Seek(r.Context(), r.PathValue("name"), from); {
	case errors.Is(err, ErrUnknownConsumer):
		if known := s.checkConsumer(r.PathValue("name")); known != nil {
			err = known // names those that there are
		}
		s.fail(w, http.StatusNotFound, err)
	case err != nil:
		s.fail(w, http.StatusInternalServerError, err)
	default:
		s.reply(w, map[string]string{"consumer": r.PathValue("name"), "from": from.String()})
	}
}
