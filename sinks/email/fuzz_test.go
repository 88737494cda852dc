package email

import (
	"bytes"
	"mime"
	"net/mail"
	"strings"
	"testing"
	"time"
	"unicode"

	"weir/ingest/event"
)

// FuzzMail holds that whatever devices say, a mail has the headers that it is to
// have and no others, and lines that a server takes.
func FuzzMail(f *testing.F) {
	for _, s := range []string{"f1", "", "f1\r\nBcc: all@plant.example", "f1\n\nbody", "f1\rX-Evil: 1", "\x1b[2J\u2028\u0085", "=?utf-8?q?a=0D=0AX-Evil:_1?=", "=\u200b?utf-8?q?a?=", "°\xff\x00", strings.Repeat("long ", 500), "\r\n.\r\nQUIT\r\n"} {
		f.Add(s, "summary", s)
		f.Add("f1", s, s)
	}
	cfg := Default()
	cfg.Name, cfg.URL, cfg.From, cfg.To = "mail", "smtp://127.0.0.1", "weir <weir@plant.example>", []string{"oncall@plant.example"}
	sink, err := New(cfg)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, device, name, text string) {
		a := event.Alert{ID: device, State: event.Resolved, Rule: device + "/" + name, Key: device, Device: device, Notice: text,
			By: map[string]string{name: text}, Labels: map[string]string{name: text}, Annotations: map[string]string{name: text, "summary": text}, Value: text}
		raw, err := sink.compose(&a, text, time.Unix(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		m, err := mail.ReadMessage(bytes.NewReader(raw))
		if err != nil {
			t.Fatalf("%v in\n%s", err, raw)
		}
		for h, values := range m.Header {
			switch h {
			case "From", "To", "Subject", "Date", "Message-Id", "In-Reply-To", "References", "Auto-Submitted", "X-Mailer", "Mime-Version", "Content-Type", "Content-Transfer-Encoding":
			default:
				t.Errorf("there is a header %s", h)
			}
			if len(values) != 1 {
				t.Errorf("header %s is there %d times", h, len(values))
			}
		}
		if got := m.Header.Get("To"); got != "<oncall@plant.example>" {
			t.Errorf("the mail is to %s", got)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
		if err != nil || strings.ContainsFunc(subject, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }) {
			t.Errorf("subject %q, %v", subject, err)
		}
		for line := range strings.Lines(string(raw)) {
			if n := len(strings.TrimRight(line, "\r\n")); n > 998 || !strings.HasSuffix(line, "\r\n") {
				t.Errorf("a line has %d bytes, or no end: %q", n, line)
			}
		}
	})
}
