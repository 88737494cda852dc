package console

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"weir/configs/strict"
	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/rules"
)

// maxRemark bounds the body of a request about alerts.
const maxRemark = event.MaxDecision

// remark is the body of a request to acknowledge an alert, which may be empty.
type remark struct {
	By      string `json:"by"`
	Comment string `json:"comment"`
}

func (s *Server) ackAlert(w http.ResponseWriter, r *http.Request) { s.acknowledge(w, r, event.Ack) }

func (s *Server) unackAlert(w http.ResponseWriter, r *http.Request) {
	s.acknowledge(w, r, event.Unack)
}

func (s *Server) acknowledge(w http.ResponseWriter, r *http.Request, kind string) {
	if s.deps.Decide == nil || s.deps.Alerts == nil {
		s.notRunning(w)
		return
	}
	body, ok := s.body(w, r)
	if !ok {
		return
	}
	var m remark
	if len(strings.TrimSpace(string(body))) > 0 {
		if err := decodeStrict(body, &m); err != nil {
			s.fail(w, http.StatusBadRequest, err)
			return
		}
	}
	id := r.PathValue("id")
	alerts := s.deps.Alerts()
	i := slices.IndexFunc(alerts, func(a rules.Status) bool { return a.ID == id })
	if i < 0 {
		s.fail(w, http.StatusNotFound, fmt.Errorf("no alert with the id %q fires: weir alerts list, or GET /api/v1/alerts, lists those that do", id))
		return
	}
	if acked := s.noteAck(id, kind, time.Now()); kind == event.Unack && alerts[i].Acked == nil && !acked {
		s.fail(w, http.StatusConflict, fmt.Errorf("the alert %q is not acknowledged", id))
		return
	}
	s.decide(w, r, event.Decision{Kind: kind, Alert: id, By: m.By, Comment: m.Comment})
}

// ackSeen is after how long at most an acknowledgement is known from the log.
const ackSeen = time.Minute

// noteAck notes an acknowledgement, or that it is taken back, and reports whether
// there was one lately.
func (s *Server) noteAck(id, kind string, now time.Time) bool {
	s.acks.Lock()
	defer s.acks.Unlock()
	if s.acks.at == nil {
		s.acks.at = map[string]time.Time{}
	}
	maps.DeleteFunc(s.acks.at, func(_ string, at time.Time) bool { return now.Sub(at) > ackSeen })
	_, was := s.acks.at[id]
	if delete(s.acks.at, id); kind == event.Ack {
		s.acks.at[id] = now
	}
	return was
}

// decide puts a decision into the log, and answers with it.
func (s *Server) decide(w http.ResponseWriter, r *http.Request, d event.Decision) {
	if d.ID == "" {
		d.ID = newID()
	}
	d.At = time.Now().UTC()
	if err := d.Validate(); err != nil {
		s.fail(w, http.StatusBadRequest, err)
		return
	}
	s.answer(w, d, s.deps.Decide(r.Context(), d), false)
}

// body reads a request's body, or answers that it is too large.
func (s *Server) body(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRemark))
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		s.fail(w, http.StatusRequestEntityTooLarge, fmt.Errorf("the request is larger than %d bytes", big.Limit))
		return nil, false
	case err != nil:
		s.fail(w, http.StatusBadRequest, fmt.Errorf("read the request: %w", err))
		return nil, false
	}
	return b, true
}

// decodeStrict reads one JSON value and refuses names that v does not have.
func decodeStrict(body []byte, v any) error {
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows it")
		}
	}
	if err != nil {
		return fmt.Errorf("the request is not as it should be, see operations.md: %w", err)
	}
	return nil
}

// silenceRequest is the body of a request to silence alerts.
type silenceRequest struct {
	Matchers []string   `json:"matchers"`            // e.g. "alertname=FreezerWarm"
	For      string     `json:"for,omitempty"`       // e.g. "2h"; or ends_at
	Starts   *time.Time `json:"starts_at,omitempty"` // default: now
	Until    *time.Time `json:"ends_at,omitempty"`
	By       string     `json:"by,omitempty"`
	Comment  string     `json:"comment,omitempty"`
}

// parseSilence reads a request to silence alerts from now on.
func parseSilence(body []byte, now time.Time) (event.Decision, error) {
	var q silenceRequest
	if err := decodeStrict(body, &q); err != nil {
		return event.Decision{}, err
	}
	d := event.Decision{Kind: event.Silence, ID: newID(), Starts: q.Starts, Until: q.Until, By: q.By, Comment: q.Comment, At: now.UTC()}
	if d.Starts == nil {
		d.Starts = &d.At
	}
	switch {
	case q.For != "" && q.Until != nil:
		return d, errors.New("say for or ends_at, not both")
	case q.For != "":
		length, err := strict.ParseDuration(q.For)
		if err != nil {
			return d, fmt.Errorf("for: %w", err)
		}
		if length <= 0 || length > event.MaxSilence {
			return d, fmt.Errorf("for: %s is not between nothing and %d days", q.For, event.MaxSilence/(24*time.Hour))
		}
		until := d.Starts.Add(length)
		d.Until = &until
	case q.Until == nil:
		return d, errors.New(`the silence has no end: say for, e.g. "2h", or ends_at`)
	}
	if !d.Until.After(now) {
		return d, fmt.Errorf("the silence would have ended at %s", d.Until.Format(time.RFC3339))
	}
	for _, text := range q.Matchers {
		m, err := event.ParseMatcher(text)
		if err != nil {
			return d, err
		}
		d.Matchers = append(d.Matchers, m)
	}
	return d, d.Validate()
}

// Silence is a silence that has not ended.
type Silence struct {
	event.Decision
	State string `json:"state"` // active, or pending until starts_at
}

func (s *Server) listSilences(w http.ResponseWriter, r *http.Request) {
	if s.deps.Silences == nil {
		s.notRunning(w)
		return
	}
	all := []Silence{}
	for _, d := range s.deps.Silences() {
		state := "active"
		if d.Starts.After(time.Now()) {
			state = "pending"
		}
		all = append(all, Silence{d, state})
	}
	s.reply(w, map[string]any{"silences": all})
}

func (s *Server) addSilence(w http.ResponseWriter, r *http.Request) {
	if s.deps.Silences == nil || s.deps.Decide == nil {
		s.notRunning(w)
		return
	}
	body, ok := s.body(w, r)
	if !ok {
		return
	}
	d, err := parseSilence(body, time.Now())
	if err != nil {
		s.fail(w, http.StatusBadRequest, err)
		return
	}
	if len(s.deps.Silences()) >= rules.MaxSilences {
		s.fail(w, http.StatusConflict, fmt.Errorf("there are %d silences already: let some expire first", rules.MaxSilences))
		return
	}
	s.decide(w, r, d)
}

func (s *Server) expireSilence(w http.ResponseWriter, r *http.Request) {
	if s.deps.Silences == nil || s.deps.Decide == nil {
		s.notRunning(w)
		return
	}
	id := r.PathValue("id")
	if !slices.ContainsFunc(s.deps.Silences(), func(d event.Decision) bool { return d.ID == id }) {
		s.fail(w, http.StatusNotFound, fmt.Errorf("there is no silence %q: weir silences list, or GET /api/v1/silences, lists those that have not ended", id))
		return
	}
	s.decide(w, r, event.Decision{Kind: event.Expire, ID: id, By: r.URL.Query().Get("by")})
}

// HistoryLine is one line of the answer of /api/v1/alerts/history: a transition
// of an alert or a decision of an operator, as the log has it.
type HistoryLine struct {
	At       time.Time       `json:"at"` // log time
	Position event.Position  `json:"position"`
	Alert    *event.Alert    `json:"alert,omitempty"`
	Decision *event.Decision `json:"decision,omitempty"`
}

const (
	historySince = "24h" // default of since
	historyLimit = 100   // default of limit
	maxHistory   = 10_000
)

func (s *Server) alertHistory(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit, err := queryInt(r, "limit", historyLimit)
	if err == nil && (limit == 0 || limit > maxHistory) {
		err = fmt.Errorf("limit=%d: it may be from 1 to %d", limit, maxHistory)
	}
	since := q.Get("since")
	if since == "" {
		since = historySince
	}
	from, ferr := ParseFrom(since)
	if ferr == nil && from.Pos != nil && int(from.Pos.Partition) >= s.deps.Log.Partitions() {
		ferr = fmt.Errorf("the log has partitions 0 to %d", s.deps.Log.Partitions()-1)
	}
	if ferr != nil {
		err = errors.Join(err, fmt.Errorf("since: %w", ferr))
	}
	if err != nil {
		s.fail(w, http.StatusBadRequest, err)
		return
	}
	h := history{rule: q.Get("rule"), key: q.Get("key"), id: q.Get("id"), limit: limit, seen: map[string]bool{}}
	err = s.read(r.Context(), from, -1, false, h.take, func() {})
	if r.Context().Err() != nil {
		return // the client went away
	}
	out := s.newStream(w)
	if err == nil {
		for _, l := range h.lines() {
			if out.line(l) != nil {
				return
			}
		}
	}
	out.end(err)
}

// history collects the newest lines that are wanted.
type history struct {
	rule, key, id string // "" for any; a rule may end with *
	limit         int

	alerts, decisions []HistoryLine
	seen              map[string]bool // decisions stand in each partition
}

func (h *history) take(b *event.Batch, _ *eventlog.Damage) error {
	if b == nil { // damage: weir's log tells of it
		return nil
	}
	for i := range b.Messages {
		m := &b.Messages[i]
		l := HistoryLine{At: time.Unix(0, m.Received).UTC(), Position: event.Position{Partition: uint16(b.Partition), Seq: b.Seq, Message: uint32(i)}}
		switch m.Record {
		case event.AlertFact:
			var a event.Alert
			if json.Unmarshal(m.Payload, &a) == nil && h.wants(&a) {
				l.Alert = &a
				h.alerts = keep(h.alerts, l, h.limit)
			}
		case event.Operation:
			d, err := event.ParseDecision(m.Payload)
			key := d.Kind + "\x00" + d.ID
			if err == nil && !h.seen[key] {
				h.seen[key] = true
				l.Decision = &d
				h.decisions = append(h.decisions, l)
			}
		}
	}
	return nil
}

func (h *history) wants(a *event.Alert) bool {
	prefix, some := strings.CutSuffix(h.rule, "*")
	return (h.rule == "" || a.Rule == h.rule || some && strings.HasPrefix(a.Rule, prefix)) && (h.key == "" || a.Key == h.key) && (h.id == "" || a.ID == h.id)
}

// keep appends a line, and forgets the oldest once there are twice too many.
func keep(all []HistoryLine, l HistoryLine, limit int) []HistoryLine {
	all = append(all, l)
	if len(all) < 2*limit {
		return all
	}
	slices.SortStableFunc(all, compareLines)
	return append(all[:0:0], all[len(all)-limit:]...)
}

func compareLines(a, b HistoryLine) int {
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Position.Partition, b.Position.Partition), cmp.Compare(a.Position.Seq, b.Position.Seq), cmp.Compare(a.Position.Message, b.Position.Message))
}

// lines returns the newest, oldest first. Of one rule, key or alert, only the
// decisions that concern what is shown of it.
func (h *history) lines() []HistoryLine {
	all := slices.Clone(h.alerts)
	concerned := map[string]bool{}
	for _, l := range h.alerts {
		concerned[l.Alert.ID] = true
		if l.Alert.Suppressed == event.SuppressedSilence {
			concerned[l.Alert.Reason] = true
		}
	}
	every := h.rule == "" && h.key == "" && h.id == ""
	for _, l := range h.decisions {
		d := l.Decision
		if every || d.Alert != "" && concerned[d.Alert] || d.Alert == "" && concerned[d.ID] {
			all = append(all, l)
		}
	}
	slices.SortStableFunc(all, compareLines)
	return all[max(0, len(all)-h.limit):]
}

// Decide puts a decision of an operator into the log, and returns when it is
// durable.
type Decide func(ctx context.Context, d event.Decision) error
