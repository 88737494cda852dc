package authority_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"

	"weir/test/authority"
)

// handshake connects a client to a server and returns who the server saw.
func handshake(t *testing.T, server, client *tls.Config) (name string, err error) {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	done := make(chan error, 1)
	srv := tls.Server(far, server)
	go func() { // ends with the connection
		done <- srv.Handshake()
		far.Close()
	}()
	err = tls.Client(near, client).Handshake()
	near.Close()
	if serr := <-done; err == nil {
		err = serr
	}
	if peers := srv.ConnectionState().PeerCertificates; err == nil && len(peers) > 0 {
		name = peers[0].Subject.CommonName
	}
	return name, err
}

func TestCertificatesFromFilesServeClientsOfTheSameAuthorityOnly(t *testing.T) {
	a, dir := authority.New(t), t.TempDir()
	a.WriteCA(filepath.Join(dir, "ca.pem"))
	a.Write(dir, "server")
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		t.Fatal("ca.pem holds no certificate")
	}
	server := &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MaxVersion: tls.VersionTLS12}
	if name, err := handshake(t, server, a.Client("device-1")); err != nil || name != "device-1" {
		t.Errorf("a client of the authority: %q, %v", name, err)
	}
	if _, err := handshake(t, server, a.Client("")); err == nil {
		t.Error("a client without a certificate got in")
	}
	if _, err := handshake(t, server, authority.New(t).Client("device-1")); err == nil {
		t.Error("a client of another authority trusts the server")
	}
}
