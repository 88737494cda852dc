package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificates are the files of the TLS listener, read again when they change,
// so that a renewed certificate needs no restart.
type certificates struct {
	cfg TLS
	log *slog.Logger

	mu      sync.Mutex
	current *tls.Config
	stamp   string // of the files that current was made from
	looked  time.Time
}

// recheck is how often the files are looked at, at most.
const recheck = time.Second

// newCertificates reads the files and returns a configuration that follows them.
func newCertificates(cfg TLS, log *slog.Logger) (*tls.Config, error) {
	c := &certificates{cfg: cfg, log: log}
	stamp, err := c.stat()
	if err != nil {
		return nil, err
	}
	if c.current, err = c.read(); err != nil {
		return nil, err
	}
	c.stamp, c.looked = stamp, time.Now()
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: c.get}, nil
}

// get returns the configuration for a handshake. Files that can't be read leave
// the last good ones in force.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < recheck {
		return c.current, nil
	}
	c.looked = time.Now()
	stamp, err := c.stat()
	if err == nil && stamp == c.stamp {
		return c.current, nil
	}
	var next *tls.Config
	if err == nil {
		next, err = c.read()
	}
	if err != nil {
		if stamp != c.stamp || stamp == "" {
			c.log.Warn("tls certificate not reloaded, the old one stays", "err", err)
		}
		c.stamp = stamp
		return c.current, nil
	}
	c.current, c.stamp = next, stamp
	c.log.Info("tls certificate reloaded", "file", c.cfg.Cert)
	return c.current, nil
}

func (c *certificates) stat() (string, error) {
	stamp := ""
	for _, f := range []string{c.cfg.Cert, c.cfg.Key, c.cfg.ClientCA} {
		if f == "" {
			continue
		}
		fi, err := os.Stat(f)
		if err != nil {
			return "", fmt.Errorf("read tls certificate: %w", err)
		}
		stamp += fmt.Sprint(fi.ModTime().UnixNano(), fi.Size(), ";")
	}
	return stamp, nil
}

func (c *certificates) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.cfg.Cert, c.cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("read tls certificate %s with key %s: %w", c.cfg.Cert, c.cfg.Key, err)
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if c.cfg.ClientCA == "" {
		return out, nil
	}
	pem, err := os.ReadFile(c.cfg.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("read client ca: %w", err)
	}
	out.ClientCAs = x509.NewCertPool()
	if !out.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read client ca %s: %w", c.cfg.ClientCA, errors.New("no certificate in PEM form in it"))
	}
	switch c.cfg.ClientCert {
	case "none":
		out.ClientCAs = nil
	case "optional":
		out.ClientAuth = tls.VerifyClientCertIfGiven
	default:
		out.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return out, nil
}
