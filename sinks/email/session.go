package email

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

// session is a connection to the server on which mails can be sent.
type session struct {
	client  *smtp.Client
	conn    net.Conn
	timeout time.Duration
	undo    func() bool // ends the watch on the context
}

// open connects, and authenticates if that is configured. An ended ctx closes
// the connection, and with it whatever waits for an answer.
func (s *Sink) open(ctx context.Context) (_ *session, err error) {
	d := net.Dialer{Timeout: s.cfg.Timeout}
	conn, err := d.DialContext(ctx, "tcp", s.server.addr)
	if err != nil {
		return nil, err
	}
	se := &session{conn: conn, timeout: s.cfg.Timeout, undo: context.AfterFunc(ctx, func() { conn.Close() })}
	defer func() {
		if err != nil {
			se.drop()
		}
	}()
	se.wait()
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.cfg.TLS != nil {
		config = s.cfg.TLS.Clone()
	}
	config.ServerName = s.server.host
	talk := conn
	if s.server.tls {
		t := tls.Client(conn, config)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		talk = t
	}
	c, err := smtp.NewClient(talk, s.server.host)
	if err != nil {
		return nil, err
	}
	se.client = c
	if err := c.Hello(s.hello); err != nil {
		return nil, err
	}
	if !s.server.tls && s.cfg.StartTLS != Off {
		offered, _ := c.Extension("STARTTLS")
		switch {
		case offered:
			if err := c.StartTLS(config); err != nil {
				return nil, fmt.Errorf("STARTTLS: %w", err)
			}
		case s.cfg.StartTLS == Required:
			return nil, errors.New("the server does not offer STARTTLS; set starttls: optional if mail may go unencrypted")
		}
	}
	if s.cfg.Username != "" {
		se.wait()
		if err := s.authenticate(c); err != nil {
			return nil, fmt.Errorf("%w; check username and password of the sink", err)
		}
	}
	return se, nil
}

// authenticate uses the best of what the server offers. The library gives a
// password to nobody on an unencrypted connection but to this machine.
func (s *Sink) authenticate(c *smtp.Client) error {
	_, list := c.Extension("AUTH")
	offered := strings.Fields(strings.ToUpper(list))
	for _, m := range []struct {
		name string
		auth smtp.Auth
	}{
		{"SCRAM-SHA-256", smtp.ScramSHA256Auth(s.cfg.Username, s.cfg.Password)},
		{"PLAIN", smtp.PlainAuth("", s.cfg.Username, s.cfg.Password, s.server.host, false)},
		{"LOGIN", smtp.LoginAuth(s.cfg.Username, s.cfg.Password, s.server.host, false)},
		{"CRAM-MD5", smtp.CRAMMD5Auth(s.cfg.Username, s.cfg.Password)},
	} {
		if slices.Contains(offered, m.name) {
			if err := c.Auth(m.auth); err != nil {
				return fmt.Errorf("authenticate by %s: %w", m.name, err)
			}
			return nil
		}
	}
	return fmt.Errorf("the server offers no way to authenticate that weir knows (it offers %q)", list)
}

// wait gives the server the timeout anew.
func (se *session) wait() { se.conn.SetDeadline(time.Now().Add(se.timeout)) }

// drop ends the connection at once.
func (se *session) drop() {
	se.undo()
	se.conn.Close()
}

// quit ends the session as the server likes it.
func (se *session) quit() {
	se.conn.SetDeadline(time.Now().Add(min(se.timeout, 5*time.Second)))
	se.client.Quit() // every mail was acknowledged; the connection is closed in any case
	se.drop()
}

// rejection is what a server answered for good, or for now.
type rejection struct {
	err  error
	temp bool
}

// outcome is what became of one mail.
type outcome struct {
	rejected map[string]rejection // by recipient
	text     bool                 // the connection broke while the mail itself was on its way
}

// send offers a mail to the server for the recipients. The error says that the
// connection is of no use any more.
func (se *session) send(from string, to []string, text []byte) (outcome, error) {
	o := outcome{rejected: map[string]rejection{}}
	all := func(list []string, err error) error {
		r, gone := judge(err)
		if gone {
			return err
		}
		for _, a := range list {
			o.rejected[a] = r
		}
		se.wait()
		return se.client.Reset()
	}
	se.wait()
	if err := se.client.Mail("<" + from + ">"); err != nil {
		return o, all(to, fmt.Errorf("sender %s: %w", from, err))
	}
	var taken []string
	for _, a := range to {
		se.wait()
		err := se.client.Rcpt("<" + a + ">")
		if err == nil {
			taken = append(taken, a)
			continue
		}
		r, gone := judge(err)
		if gone {
			return o, err
		}
		o.rejected[a] = r
	}
	if len(taken) == 0 {
		se.wait()
		return o, se.client.Reset()
	}
	se.wait()
	w, err := se.client.Data()
	if err != nil {
		return o, all(taken, err)
	}
	se.wait()
	if _, err := w.Write(text); err != nil {
		o.text = true
		return o, err
	}
	if err := w.Close(); err != nil {
		if _, gone := judge(err); gone {
			o.text = true
			return o, err
		}
		return o, all(taken, err)
	}
	return o, nil
}

// judge tells what the server said of a mail from what ends the connection.
func judge(err error) (r rejection, gone bool) {
	var te *textproto.Error
	if !errors.As(err, &te) {
		return r, true
	}
	switch {
	case te.Code == 421: // it is about to close the connection
		return r, true
	case te.Code/100 == 4:
		return rejection{err, true}, false
	case te.Code == 530 || te.Code == 534 || te.Code == 535 || te.Code == 538: // it wants to know who we are
		return r, true
	case te.Code/100 == 5:
		return rejection{err, false}, false
	}
	return r, true // nothing that an SMTP server says
}
