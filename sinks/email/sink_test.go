package email

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/sinks/sinktest"
	"weir/test/maild"
)

func newSink(t *testing.T, srv *maild.Server, change ...func(*Config)) *Sink {
	t.Helper()
	cfg := Default()
	cfg.Name, cfg.URL, cfg.StartTLS, cfg.TLS = "mail", srv.URL(), Off, srv.TLS()
	cfg.From, cfg.To, cfg.Timeout = "weir <weir@plant.example>", []string{"oncall@plant.example"}, 10*time.Second
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// ids returns how many different mails the server has.
func ids(srv *maild.Server) int {
	seen := map[string]bool{}
	for _, m := range srv.Mails() {
		seen[m.Header.Get("Message-Id")] = true
	}
	return len(seen)
}

func TestConformance(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) *sinktest.Target {
		srv := maild.Start(t)
		hang := make(chan struct{})
		t.Cleanup(func() { close(hang) })
		return &sinktest.Target{
			Sink: newSink(t, srv), Alerts: true, Name: "mail", Effects: func() int { return ids(srv) },
			Outage: func(down bool) {
				if down {
					srv.Stop()
				} else {
					srv.Restart(t)
				}
			},
			Hang: func() {
				srv.Answer(func(command, _ string) error {
					if command == "DATA" {
						<-hang
					}
					return nil
				})
			},
		}
	})
}

func handle(t *testing.T, s *Sink, alerts ...event.Alert) (event.Outcome, error) {
	t.Helper()
	b := sinktest.NewBatch(1, sinktest.Start())
	for _, a := range alerts {
		b.Alert(t, a)
	}
	return s.Handle(t.Context(), []*event.Batch{b.Batch()})
}

func TestAnAlertIsAMail(t *testing.T) {
	srv := maild.Start(t)
	s := newSink(t, srv, func(c *Config) { c.To = []string{"oncall@plant.example", "Cold Room <cold@plant.example>"} })
	a := sinktest.Alert(3, "mail")
	a.Annotations["summary"] = "f3 is at -11.5 °C"
	a.Annotations["runbook"] = "https://plant.example/run\nthen call"
	if out, err := handle(t, s, a, sinktest.Resolved(a)); err != nil || len(out.Dead) != 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	mails := srv.Mails()
	if len(mails) != 2 {
		t.Fatalf("%d mails, want 2", len(mails))
	}
	m, end := mails[0], mails[1]
	if got := fmt.Sprint(m.From, m.To); got != "weir@plant.example[oncall@plant.example cold@plant.example]" {
		t.Errorf("envelope %s", got)
	}
	for h, want := range map[string]string{
		"From": `"weir" <weir@plant.example>`, "To": `<oncall@plant.example>, "Cold Room" <cold@plant.example>`,
		"Auto-Submitted": "auto-generated", "Content-Type": "text/plain; charset=UTF-8", "In-Reply-To": "", "X-Mailer": "weir",
	} {
		if got := m.Header.Get(h); got != want {
			t.Errorf("header %s = %q, want %q", h, got, want)
		}
	}
	if want := "[firing] FreezerWarm f3: f3 is at -11.5 °C"; m.Subject() != want {
		t.Errorf("subject %q, want %q", m.Subject(), want)
	}
	started := a.StartsAt.Format("2006-01-02 15:04:05 MST")
	want := "FreezerWarm is firing.\n\nf3 is at -11.5 °C\n\nrule: cold-room/FreezerWarm\ndevice: f3\nvalue: -11.5\nstarted: " + started +
		"\nlabels: severity=page\nrunbook: https://plant.example/run\nthen call\nincident: alert-3\n"
	if m.Body != want {
		t.Errorf("body\n%s\nwant\n%s", m.Body, want)
	}
	if !strings.Contains(end.Body, "FreezerWarm is resolved.") || !strings.Contains(end.Body, ", after 1m0s\n") {
		t.Errorf("the mail of the end says\n%s", end.Body)
	}
	id := m.Header.Get("Message-Id")
	if !strings.HasPrefix(id, "<weir.") || !strings.HasSuffix(id, "@plant.example>") || id == end.Header.Get("Message-Id") {
		t.Errorf("ids %q and %q", id, end.Header.Get("Message-Id"))
	}
	if r, i := end.Header.Get("References"), end.Header.Get("In-Reply-To"); r != id || i != id {
		t.Errorf("the mail of the end refers to %q and answers %q, want %q", r, i, id)
	}
}

func TestAMailThatComesTwiceIsTheSame(t *testing.T) {
	srv := maild.Start(t)
	a := sinktest.Alert(1, "mail")
	b := sinktest.NewBatch(1, sinktest.Start()).Alert(t, a).Batch()
	for range 2 { // as after a crash: the second sink knows nothing of the first
		if _, err := newSink(t, srv).Handle(t.Context(), []*event.Batch{b}); err != nil {
			t.Fatal(err)
		}
	}
	if m := srv.Mails(); len(m) != 2 || m[0].Raw != m[1].Raw {
		t.Errorf("the two differ: %+v", m)
	}
}

func TestWhatIsToldAgainIsAnotherMail(t *testing.T) {
	srv := maild.Start(t)
	a := sinktest.Alert(1, "mail")
	repeat := a
	repeat.Notice = event.NoticeRepeat
	if _, err := handle(t, newSink(t, srv), a, repeat, repeat); err != nil {
		t.Fatal(err)
	}
	m := srv.Mails()
	if ids(srv) != 3 || m[1].Header.Get("In-Reply-To") != m[0].Header.Get("Message-Id") || !strings.HasPrefix(m[1].Subject(), "[firing, repeat] ") {
		t.Errorf("%d different mails, want 3: %q", ids(srv), m[1].Subject())
	}
}

func TestOnlyChosenAlertsAreMailed(t *testing.T) {
	a := sinktest.Alert(1, "mail")
	silent := sinktest.Alert(3)
	silent.Suppressed = event.SuppressedSilence
	alerts := []event.Alert{a, sinktest.Resolved(a), sinktest.Alert(2), silent}
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   int
	}{
		{"those sent here", func(*Config) {}, 2},
		{"those sent here, when they fire", func(c *Config) { c.On = []string{"firing"} }, 1},
		{"all that somebody is to be told of", func(c *Config) { c.All = true }, 3},
		{"none of another sink", func(c *Config) { c.Name = "other" }, 0},
	} {
		srv := maild.Start(t)
		out, err := handle(t, newSink(t, srv, tt.change), alerts...)
		if err != nil || len(srv.Mails()) != tt.want || out.Filtered != 4-tt.want {
			t.Errorf("%s: %d mails, want %d (%+v, %v)", tt.name, len(srv.Mails()), tt.want, out, err)
		}
	}
}

func TestNoTextOfADeviceBecomesAHeader(t *testing.T) {
	for _, evil := range []string{"f1\r\nBcc: all@plant.example", "f1\nX-Evil: 1\n\nbody", "f1\rX-Evil: 1", "\x1b[2J\u2028X-Evil: 1\u0085", "=?utf-8?q?a=0D=0AX-Evil:_1?=", strings.Repeat("long ", 500) + "\r\nX-Evil: 1"} {
		srv := maild.Start(t)
		a := sinktest.Alert(1, "mail")
		a.ID, a.Rule, a.Key, a.Device, a.State = "id"+evil, "g"+evil+"/r"+evil, evil, evil, event.Firing
		a.Labels = map[string]string{"l" + evil: evil}
		a.Annotations = map[string]string{"summary": evil, "n" + evil: evil}
		a.Notice = "repeat" + evil
		if out, err := handle(t, newSink(t, srv), a); err != nil || len(out.Dead) != 0 {
			t.Fatalf("%q: %+v, %v", evil, out, err)
		}
		m := srv.Mails()[0]
		for name := range m.Header {
			switch name {
			case "From", "To", "Subject", "Date", "Message-Id", "In-Reply-To", "References", "Auto-Submitted", "X-Mailer", "Mime-Version", "Content-Type", "Content-Transfer-Encoding":
			default:
				t.Errorf("%q: there is a header %s", evil, name)
			}
		}
		if len(m.To) != 1 {
			t.Errorf("%q: recipients %q", evil, m.To)
		}
		if strings.ContainsAny(m.Subject(), "\r\n\x1b") || len(m.Subject()) > 1000 {
			t.Errorf("%q: subject %q", evil, m.Subject())
		}
	}
}

func TestWhatTheServerSaysDecides(t *testing.T) {
	for _, tt := range []struct {
		name, command string
		answer        error
		want          string // delivered, retry, dead
		says          string
	}{
		{"a recipient that there is not", "RCPT", maild.Fail(550, "no such user"), "dead", "mail to oncall@plant.example by smtp://127.0.0.1"},
		{"a recipient that is put off", "RCPT", maild.Fail(451, "greylisted"), "retry", "greylisted"},
		{"a mail that is refused", "DATA", maild.Fail(554, "this is spam"), "dead", "this is spam"},
		{"a mail that is put off", "DATA", maild.Fail(452, "disk is full"), "retry", "disk is full"},
		{"a sender that is refused", "MAIL", maild.Fail(553, "who are you"), "dead", "sender weir@plant.example"},
		{"a sender that is put off", "MAIL", maild.Fail(450, "later"), "retry", "later"},
		{"a sender who must say who he is", "MAIL", maild.Fail(530, "authenticate"), "retry", "authenticate"},
		{"a server that is about to go", "RCPT", maild.Fail(421, "closing"), "retry", "closing"},
		{"a server that takes nobody", "CONNECT", maild.Fail(554, "go away"), "retry", "go away"},
		{"a connection that breaks", "DATA", maild.ErrCut, "retry", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := maild.Start(t)
			s := newSink(t, srv)
			srv.Answer(func(command, _ string) error {
				if command == tt.command {
					return tt.answer
				}
				return nil
			})
			out, err := handle(t, s, sinktest.Alert(1, "mail"))
			got, text := "delivered", ""
			var re *event.RetryError
			if errors.As(err, &re) {
				got, text = "retry", err.Error()
			} else if len(out.Dead) == 1 {
				got, text = "dead", out.Dead[0].Err.Error()
			}
			if got != tt.want || !strings.Contains(text, tt.says) {
				t.Errorf("%s, %q; want %s with %q", got, text, tt.want, tt.says)
			}
		})
	}
}

func TestOneRecipientHarmsNoOther(t *testing.T) {
	srv := maild.Start(t)
	s := newSink(t, srv, func(c *Config) { c.To = []string{"gone@x.example", "full@x.example", "good@x.example"} })
	full := true
	srv.Answer(func(command, address string) error {
		switch {
		case command == "RCPT" && address == "gone@x.example":
			return maild.Fail(550, "no such user")
		case command == "RCPT" && address == "full@x.example" && full:
			return maild.Fail(452, "mailbox full")
		}
		return nil
	})
	b := []*event.Batch{sinktest.NewBatch(1, sinktest.Start()).Alert(t, sinktest.Alert(1, "mail")).Batch()}
	var re *event.RetryError
	if _, err := s.Handle(t.Context(), b); !errors.As(err, &re) {
		t.Fatalf("error %v, want a *event.RetryError for the full mailbox", err)
	}
	full = false
	out, err := s.Handle(t.Context(), b)
	if err != nil || len(out.Dead) != 1 || !strings.Contains(out.Dead[0].Err.Error(), "mail to gone@x.example") || !strings.Contains(out.Dead[0].Err.Error(), "2 other recipients have it") {
		t.Errorf("%+v, %v", out, err)
	}
	var to []string
	for _, m := range srv.Mails() {
		to = append(to, m.To...)
	}
	if fmt.Sprint(to) != "[good@x.example full@x.example]" {
		t.Errorf("delivered to %v, want each once", to)
	}
}

func TestAMailThatIsPutOffHoldsBackItsOwnAlertOnlyAndIsGivenUp(t *testing.T) {
	srv := maild.Start(t)
	s := newSink(t, srv, func(c *Config) { c.MaxAttempts, c.Subject = 3, "{{ .Key }} {{ .State }}" })
	var refuse string
	n := 0
	srv.Answer(func(command, _ string) error {
		if command == "MAIL" {
			n++
		}
		if command == "DATA" && n == 1 || command == "DATA" && refuse == "all" {
			return maild.Fail(450, "later")
		}
		return nil
	})
	a, other := sinktest.Alert(1, "mail"), sinktest.Alert(2, "mail")
	b := []*event.Batch{sinktest.NewBatch(1, sinktest.Start()).Alert(t, a).Alert(t, sinktest.Resolved(a)).Alert(t, other).Batch()}
	if _, err := s.Handle(t.Context(), b); err == nil {
		t.Fatal("no error, though one was put off")
	}
	if m := srv.Mails(); len(m) != 1 || m[0].Subject() != "f2 firing" {
		t.Fatalf("mails %v, want that of the other alert", m)
	}
	refuse = "all"
	if _, err := s.Handle(t.Context(), b); err == nil {
		t.Fatal("no error at the second attempt")
	}
	refuse = ""
	n = 0 // the first mail is put off once more: its third time
	out, err := s.Handle(t.Context(), b)
	if err != nil || len(out.Dead) != 1 || !strings.Contains(out.Dead[0].Err.Error(), "given up after 3 attempts") {
		t.Errorf("%+v, %v", out, err)
	}
	if m := srv.Mails(); len(m) != 2 || m[1].Subject() != "f1 resolved" {
		t.Errorf("mails %v, want that the alert has ended too", m)
	}
}

func TestEncryptionAndAuthentication(t *testing.T) {
	login := func(c *Config) { c.Username, c.Password = maild.User, maild.Password }
	required := func(c *Config) { c.StartTLS = Required }
	for _, tt := range []struct {
		name   string
		server []maild.Option
		change []func(*Config)
		tls    bool
		err    string
	}{
		{"STARTTLS", []maild.Option{maild.StartTLS(), maild.WithAuth()}, []func(*Config){login, required}, true, ""},
		{"TLS from the start", []maild.Option{maild.Implicit(), maild.WithAuth()}, []func(*Config){login, required}, true, ""},
		{"STARTTLS where it is offered", []maild.Option{maild.StartTLS()}, []func(*Config){func(c *Config) { c.StartTLS = Optional }}, true, ""},
		{"no STARTTLS where none is offered", nil, []func(*Config){func(c *Config) { c.StartTLS = Optional }}, false, ""},
		{"a server without STARTTLS", nil, []func(*Config){required}, false, "does not offer STARTTLS"},
		{"a certificate that nobody knows", []maild.Option{maild.StartTLS()}, []func(*Config){required, func(c *Config) { c.TLS = nil }}, false, "certificate"},
		{"a wrong password", []maild.Option{maild.StartTLS(), maild.WithAuth()}, []func(*Config){login, required, func(c *Config) { c.Password = "hunter2" }}, false, "check username and password"},
		{"a server that knows no users", []maild.Option{maild.StartTLS()}, []func(*Config){login, required}, false, "no way to authenticate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := maild.Start(t, tt.server...)
			_, err := handle(t, newSink(t, srv, tt.change...), sinktest.Alert(1, "mail"))
			if tt.err != "" {
				var re *event.RetryError
				if !errors.As(err, &re) || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("error %v, want a *event.RetryError with %q", err, tt.err)
				}
				return
			}
			if err != nil || len(srv.Mails()) != 1 || srv.Mails()[0].TLS != tt.tls {
				t.Errorf("%v, %+v", err, srv.Mails())
			}
		})
	}
}

func TestAServerThatSaysNothingDoesNotHoldACallLongerThanItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts by the kernel, never greets
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	srv := maild.Start(t)
	s := newSink(t, srv, func(c *Config) { c.URL, c.Timeout = "smtp://"+l.Addr().String(), time.Hour })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	b := sinktest.NewBatch(1, sinktest.Start()).Alert(t, sinktest.Alert(1, "mail")).Batch()
	if _, err := s.Handle(ctx, []*event.Batch{b}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"url: missing": func(c *Config) { c.URL = "" }, "scheme \"http\"": func(c *Config) { c.URL = "http://x" }, "holds a user name": func(c *Config) { c.URL = "smtp://a:b@x" },
		"url: not a URL": func(c *Config) { c.URL = "mail.example.com" }, "starttls: \"yes\"": func(c *Config) { c.StartTLS = "yes" },
		"name: missing": func(c *Config) { c.Name = "" }, "password: is set": func(c *Config) { c.Password = "x" },
		"from: missing": func(c *Config) { c.From = "" }, "from: \"a\\r": func(c *Config) { c.From = "a\r\nBcc: b@x <a@x>" },
		"to: missing": func(c *Config) { c.To = nil }, "to: \"nobody\"": func(c *Config) { c.To = []string{"nobody"} },
		"hello: \"a b\"": func(c *Config) { c.Hello = "a b" }, "on: empty": func(c *Config) { c.On = nil }, "on: \"pending\"": func(c *Config) { c.On = []string{"pending"} },
		"timeout": func(c *Config) { c.Timeout = 0 }, "max_attempts": func(c *Config) { c.MaxAttempts = -1 },
		"subject: template": func(c *Config) { c.Subject = "{{ .State" }, "can't evaluate field Sate": func(c *Config) { c.Body = "{{ .Sate }}" },
	} {
		c := Default()
		c.Name, c.URL, c.From, c.To = "mail", "smtp://127.0.0.1:25", "a@x", []string{"b@x"}
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
