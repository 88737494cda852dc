package maild

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"weir/test/authority"
	"weir/test/port"
)

// The account that WithAuth asks for.
const (
	User     = "weir"
	Password = "correct-horse"
)

// Mail is what the server was given.
type Mail struct {
	From   string
	To     []string // of the envelope
	Header mail.Header
	Body   string // decoded
	Raw    string
	TLS    bool   // it came over TLS
	User   string // who had authenticated
}

// Subject returns the decoded subject.
func (m Mail) Subject() string {
	s, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		return err.Error()
	}
	return s
}

// Server is a running server.
type Server struct {
	addr      string
	implicit  bool
	starttls  bool
	auth      bool
	cert      tls.Certificate
	authority *authority.Authority

	mu       sync.Mutex
	server   *smtp.Server // nil while stopped
	listener net.Listener // of server
	mails    []Mail
	answer   func(command, address string) error
}

// An Option changes how the server is started.
type Option func(*Server)

// StartTLS makes the server offer STARTTLS.
func StartTLS() Option { return func(s *Server) { s.starttls = true } }

// Implicit makes the server speak TLS from the start.
func Implicit() Option { return func(s *Server) { s.implicit = true } }

// WithAuth makes the server ask for User and Password.
func WithAuth() Option { return func(s *Server) { s.auth = true } }

// Start starts a server that is stopped when the test ends.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s := &Server{}
	for _, o := range opts {
		o(s)
	}
	s.authority = authority.New(t)
	s.cert = s.authority.Issue("mail.test")
	s.serve(s.listen(t))
	t.Cleanup(s.Stop)
	return s
}

func (s *Server) listen(t testing.TB) net.Listener {
	t.Helper()
	s.addr = port.Free(t)
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		t.Fatalf("maild: %v", err)
	}
	return l
}

func (s *Server) serve(l net.Listener) {
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		if err := s.ask("CONNECT", ""); err != nil {
			return nil, err
		}
		return &session{server: s, conn: c}, nil
	}))
	srv.Domain, srv.AllowInsecureAuth = "mail.test", true
	srv.ReadTimeout, srv.WriteTimeout = time.Minute, time.Minute
	srv.ErrorLog = log.New(io.Discard, "", 0)
	config := &tls.Config{Certificates: []tls.Certificate{s.cert}}
	if s.implicit {
		l = tls.NewListener(l, config)
	} else if s.starttls {
		srv.TLSConfig = config
	}
	s.mu.Lock()
	s.server, s.listener = srv, l
	s.mu.Unlock()
	go srv.Serve(l) // ends with Stop
}

// Stop cuts every connection and takes no more. It does nothing if it is stopped.
func (s *Server) Stop() {
	s.mu.Lock()
	srv, l := s.server, s.listener
	s.server, s.listener = nil, nil
	s.mu.Unlock()
	if srv != nil {
		srv.Close()
		l.Close() // the server has no part in it before its Serve has begun
	}
}

// Restart starts a stopped server again, at the same address with what it has.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	s.serve(l)
}

// URL returns the address, e.g. smtp://127.0.0.1:23456. It never changes.
func (s *Server) URL() string {
	if s.implicit {
		return "smtps://" + s.addr
	}
	return "smtp://" + s.addr
}

// Mails returns what was taken, in its order.
func (s *Server) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}

// Answer makes the server answer commands with an error, e.g. a *smtp.SMTPError:
// CONNECT, AUTH and DATA have no address, MAIL and RCPT have one. ErrCut cuts the connection.
func (s *Server) Answer(f func(command, address string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// ErrCut, as an answer, closes the connection without one.
var ErrCut = errors.New("cut")

// Fail returns an answer with a code.
func Fail(code int, text string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCodeNotSet, Message: text}
}

func (s *Server) ask(command, address string) error {
	s.mu.Lock()
	f := s.answer
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(command, address)
}

// session is one connection; its methods are called by one goroutine.
type session struct {
	server *Server
	conn   *smtp.Conn
	mail   Mail
	user   string
}

func (se *session) Reset()        { se.mail = Mail{} }
func (se *session) Logout() error { return nil }

func (se *session) ask(command, address string) error {
	err := se.server.ask(command, address)
	if errors.Is(err, ErrCut) {
		se.conn.Conn().Close()
	}
	return err
}

func (se *session) Mail(from string, _ *smtp.MailOptions) error {
	if se.server.auth && se.user == "" {
		return Fail(530, "authentication required")
	}
	se.mail.From = from
	return se.ask("MAIL", from)
}

func (se *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if err := se.ask("RCPT", to); err != nil {
		return err
	}
	se.mail.To = append(se.mail.To, to)
	return nil
}

func (se *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := se.ask("DATA", ""); err != nil {
		return err
	}
	m := se.mail
	m.Raw, m.User = string(raw), se.user
	_, m.TLS = se.conn.TLSConnectionState()
	parsed, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return Fail(554, "this is no mail: "+err.Error())
	}
	m.Header = parsed.Header
	body := parsed.Body
	if strings.EqualFold(m.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return Fail(554, "this is no quoted-printable: "+err.Error())
	}
	m.Body = strings.ReplaceAll(string(text), "\r\n", "\n")
	se.server.mu.Lock()
	defer se.server.mu.Unlock()
	se.server.mails = append(se.server.mails, m)
	return nil
}

func (se *session) AuthMechanisms() []string {
	if !se.server.auth {
		return nil
	}
	return []string{sasl.Plain}
}

func (se *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if err := se.ask("AUTH", ""); err != nil {
			return err
		}
		if username != User || password != Password {
			return smtp.ErrAuthFailed
		}
		se.user = username
		return nil
	}), nil
}

// TLS returns what a client needs to trust the server.
func (s *Server) TLS() *tls.Config { return s.authority.Client("") }

// CAFile writes the certificate that signs the server's, and returns the file's name.
func (s *Server) CAFile(t testing.TB) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	s.authority.WriteCA(name)
	return name
}
