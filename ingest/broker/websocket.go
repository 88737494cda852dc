package broker

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// serveWebSocket takes WebSocket connections until the listener is closed.
func (b *Broker) serveWebSocket(l *listener) {
	up := &websocket.Upgrader{
		HandshakeTimeout: b.cfg.Limits.ConnectTimeout,
		ReadBufferSize:   1 << 10,
		WriteBufferSize:  4 << 10,
		WriteBufferPool:  &sync.Pool{},
		Subprotocols:     []string{"mqtt", "mqttv3.1"},
		CheckOrigin:      b.originAllowed,
		Error: func(w http.ResponseWriter, _ *http.Request, status int, _ error) {
			http.Error(w, http.StatusText(status), status)
		},
	}
	if len(b.cfg.WebSocket.Origins) == 0 {
		up.CheckOrigin = nil // the same host, as browsers see it
	}
	mux := http.NewServeMux()
	mux.HandleFunc(b.cfg.WebSocket.Path, func(w http.ResponseWriter, r *http.Request) {
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			b.log.Debug("handshake failed", "listener", l.kind, "remote", r.RemoteAddr, "err", err)
			return
		}
		nc := &wsConn{Conn: ws.NetConn(), ws: ws}
		c := b.admit(nc)
		if c == nil {
			_ = nc.Close()
			return
		}
		if t := r.TLS; t != nil && b.cfg.TLS.CertUser && len(t.VerifiedChains) > 0 {
			c.certUser = t.VerifiedChains[0][0].Subject.CommonName
		}
		b.serveConn(l, c)
	})
	var shaking atomic.Int64
	srv := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: b.cfg.Limits.ConnectTimeout,
		IdleTimeout:       b.cfg.Limits.ConnectTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(b.log.Handler(), slog.LevelDebug),
		ConnState: func(nc net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				if shaking.Add(1) > int64(b.cfg.Limits.Connections) {
					b.stats.RefusedBusy.Add(1)
					_ = nc.Close()
				}
			case http.StateHijacked, http.StateClosed:
				shaking.Add(-1)
			}
		},
	}
	b.spawn(func() { <-b.ctx.Done(); _ = srv.Close() })
	if err := srv.Serve(l.Listener); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
		b.log.Error("websocket listener ended", "err", err)
	}
}

// originAllowed compares the Origin header with the configured ones. Programs,
// unlike browsers, send none.
func (b *Broker) originAllowed(r *http.Request) bool {
	o := r.Header.Get("Origin")
	return o == "" || slices.ContainsFunc(b.cfg.WebSocket.Origins, func(a string) bool { return a == "*" || strings.EqualFold(a, o) })
}

// wsConn is the stream of bytes that binary WebSocket messages carry. One
// goroutine may read and one may write.
type wsConn struct {
	net.Conn
	ws  *websocket.Conn
	msg io.Reader // the message that is being read; nil between messages
}

var errText = errors.New("websocket message is not binary")

func (c *wsConn) Read(b []byte) (int, error) {
	for {
		if c.msg == nil {
			kind, r, err := c.ws.NextReader()
			if err != nil {
				if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived, websocket.CloseAbnormalClosure) {
					err = io.EOF
				}
				return 0, err
			}
			if kind != websocket.BinaryMessage { // [MQTT-6.0.0-1]
				return 0, errText
			}
			c.msg = r
		}
		n, err := c.msg.Read(b)
		if errors.Is(err, io.EOF) {
			c.msg, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (c *wsConn) Write(b []byte) (int, error) {
	if err := c.ws.WriteMessage(websocket.BinaryMessage, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// CloseWrite says goodbye; the peer's answer ends reads.
func (c *wsConn) CloseWrite() error {
	return c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
}

var _ interface{ CloseWrite() error } = (*tls.Conn)(nil)
