package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates. It fails its test when it can't.
type Authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64 // of the last certificate
}

// New returns an authority that nobody trusts yet.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t}
	a.cert, a.key = a.sign("test authority", true)
	return a
}

// Issue returns a new certificate for a server or a client of this name.
func (a *Authority) Issue(name string) tls.Certificate {
	a.t.Helper()
	cert, key := a.sign(name, false)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func (a *Authority) sign(name string, ca bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.check(err)
	a.n++
	c := &x509.Certificate{
		SerialNumber: big.NewInt(a.n), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	parent, signer := a.cert, a.key
	if ca {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	a.check(err)
	cert, err := x509.ParseCertificate(der)
	a.check(err)
	return cert, key
}

func (a *Authority) check(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// Client returns what a client on this machine needs, with a new certificate of
// this name; "" has none.
func (a *Authority) Client(name string) *tls.Config {
	a.t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	c := &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
	if name != "" {
		c.Certificates = []tls.Certificate{a.Issue(name)}
	}
	return c
}

// PEM returns a new certificate of this name and its key as files hold them.
func (a *Authority) PEM(name string) (cert, key string) {
	a.t.Helper()
	c := a.Issue(name)
	raw, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	a.check(err)
	return text("CERTIFICATE", c.Certificate[0]), text("PRIVATE KEY", raw)
}

// Write writes <name>.pem and <name>.key of a new certificate into dir.
func (a *Authority) Write(dir, name string) {
	a.t.Helper()
	cert, key := a.PEM(name)
	a.check(os.WriteFile(filepath.Join(dir, name+".pem"), []byte(cert), 0o600))
	a.check(os.WriteFile(filepath.Join(dir, name+".key"), []byte(key), 0o600))
}

// WriteCA writes the authority's own certificate into a file.
func (a *Authority) WriteCA(file string) {
	a.t.Helper()
	a.check(os.WriteFile(file, []byte(text("CERTIFICATE", a.cert.Raw)), 0o600))
}

func text(kind string, b []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
}
