// Package endpoint says where a broker is and how to be let in: its address,
// TLS, and credentials. It dials raw connections and makes the TLS settings
// that MQTT libraries take.
//
//	tcp://host:1883   mqtt://host   plain
//	ssl://host:8883   tls://host  mqtts://host   TLS
package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
)

// Endpoint is a broker and the credentials to use there.
type Endpoint struct {
	Broker   string      // a URL, e.g. tcp://127.0.0.1:1883
	TLS      *tls.Config // for TLS brokers; nil: the system's roots
	Username string
	Password string
}

// Address is what Broker says: a host:port and whether TLS is spoken there. A
// missing port is 1883, or 8883 with TLS; a missing scheme is tcp.
func (e Endpoint) Address() (address string, secure bool, err error) {
	raw := e.Broker
	if !strings.Contains(raw, "://") {
		raw = "tcp://" + raw
	}
	if strings.Contains(raw, "@") { // seen to first, as other errors repeat the address
		return "", false, errors.New("broker: give credentials by user name and password, not in the address")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", false, fmt.Errorf("broker %q is not an address like tcp://127.0.0.1:1883: %w", e.Broker, err)
	}
	port := "1883"
	switch strings.ToLower(u.Scheme) {
	case "tcp", "mqtt":
	case "ssl", "tls", "mqtts":
		secure, port = true, "8883"
	default:
		return "", false, fmt.Errorf("broker %q: scheme %q is not one of tcp, mqtt, ssl, tls, mqtts", e.Broker, u.Scheme)
	}
	if u.Hostname() == "" {
		return "", false, fmt.Errorf("broker %q names no host, e.g. tcp://127.0.0.1:1883", e.Broker)
	}
	if p := u.Port(); p != "" {
		port = p
	}
	return net.JoinHostPort(u.Hostname(), port), secure, nil
}

// URL is Broker in the form that paho takes: tcp:// or ssl:// with a port.
func (e Endpoint) URL() (string, error) {
	address, secure, err := e.Address()
	if err != nil {
		return "", err
	}
	if secure {
		return "ssl://" + address, nil
	}
	return "tcp://" + address, nil
}

// Dial opens a connection to the broker, with the TLS handshake done where
// there is one. It comes from the local address source, unless that is nil.
func (e Endpoint) Dial(ctx context.Context, source net.IP) (net.Conn, error) {
	address, secure, err := e.Address()
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	if source != nil {
		dialer.LocalAddr, dialer.Control = &net.TCPAddr{IP: source}, bindAddressOnly
	}
	var conn net.Conn
	if secure {
		conn, err = (&tls.Dialer{NetDialer: &dialer, Config: e.TLS}).DialContext(ctx, "tcp", address)
	} else {
		conn, err = dialer.DialContext(ctx, "tcp", address)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", e.Broker, err)
	}
	return conn, nil
}

// LoadTLS makes TLS settings from PEM files: ca holds the authorities to trust
// instead of the system's, cert and key are the client's own. Empty names are
// left out; with all three empty it returns nil.
func LoadTLS(ca, cert, key string) (*tls.Config, error) {
	if ca == "" && cert == "" && key == "" {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("read TLS authorities: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no PEM certificate", ca)
		}
	}
	if (cert == "") != (key == "") {
		return nil, errors.New("a client certificate needs both its certificate file and its key file")
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("read TLS client certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
