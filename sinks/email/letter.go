package email

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	netmail "net/mail"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"weir/ingest/event"
	"weir/sinks/choice"
)

// letter is one mail on its way.
type letter struct {
	batch   int
	message uint32
	at      event.Position
	order   string // mails of one of these are sent in their order
	text    []byte // header and body
}

// choose returns the mail that a message causes, or nil if it causes none.
func (s *Sink) choose(b *event.Batch, message uint32) (*letter, error) {
	m := &b.Messages[message]
	if m.Record != event.AlertFact {
		return nil, nil
	}
	a, err := choice.Parse(m.Payload)
	if err != nil || !s.choice.Takes(a) {
		return nil, err
	}
	at := event.Position{Partition: uint16(b.Partition), Seq: b.Seq, Message: message}
	record := m.ID
	if record == "" {
		record = at.String()
	}
	text, err := s.compose(a, strings.Clone(record), time.Unix(0, m.Received))
	if err != nil {
		return nil, fmt.Errorf("write the mail: %w", err)
	}
	return &letter{message: message, at: at, order: a.Rule + "\x00" + a.Key, text: text}, nil
}

// compose returns header and body. record names the record of the log, for what
// is told more than once; date is when it was received.
func (s *Sink) compose(a *event.Alert, record string, date time.Time) ([]byte, error) {
	subject, body, err := s.templates.render(factsOf(a))
	if err != nil {
		return nil, err
	}
	m := mail.NewMsg(mail.WithNoDefaultUserAgent())
	m.FromMailAddress(s.from)
	m.SetAddrHeaderFromMailAddress(mail.HeaderTo, s.to...)
	m.Subject(subject)
	m.SetDateWithValue(date.UTC())
	first := s.messageID(a.ID, event.Firing, "")
	own := s.messageID(a.ID, a.State, "")
	if a.Notice != "" {
		own = s.messageID(a.ID, a.State, record)
	}
	m.SetMessageIDWithValue(own)
	if own != first {
		m.SetGenHeader(mail.HeaderInReplyTo, "<"+first+">")
		m.SetGenHeader(mail.HeaderReferences, "<"+first+">")
	}
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no out-of-office answers
	m.SetGenHeader(mail.HeaderXMailer, "weir")
	m.SetBodyString(mail.TypeTextPlain, body)
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// messageID returns the same for each delivery of a mail.
func (s *Sink) messageID(id, state, record string) string {
	h := sha256.New()
	for _, t := range []string{id, state, record} {
		fmt.Fprintf(h, "%d:%s", len(t), t)
	}
	return "weir." + hex.EncodeToString(h.Sum(nil)[:16]) + "@" + s.domain
}

// domainOf returns the domain of an address as a Message-ID can say it.
func domainOf(a *netmail.Address) string {
	d := a.Address[strings.LastIndexByte(a.Address, '@')+1:]
	if d == "" || strings.ContainsFunc(d, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-')
	}) {
		return "weir.invalid"
	}
	return d
}
