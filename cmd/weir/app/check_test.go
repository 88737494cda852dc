package app

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/configs/strict"
	"weir/test/authority"
)

// writeFiles writes files into a folder.
func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCheckRefusesWhatRunWouldRefuse: all of these are found without starting
// anything, each with its place.
func TestCheckRefusesWhatRunWouldRefuse(t *testing.T) {
	ca := authority.New(t)
	cert, key := ca.PEM("server")
	_, other := ca.PEM("other")
	const sources = "\nsources: [{name: p, topic: 'p/{device}'}]\n"
	for name, tt := range map[string]struct{ mqtt, want string }{
		"anonymous clients whose rights nobody says": {"{listen: '127.0.0.1:0', anonymous: true, users_file: users.yaml}", "weir.yaml:1:31: "},
		"a users file that is not there":             {"{listen: '127.0.0.1:0', users_file: none.yaml}", "weir.yaml:1:43: mqtt.users_file: "},
		"a certificate that is not there":            {"{tls: {cert: none.pem, key: key.pem}}", "weir.yaml:1:14: mqtt.tls.cert: open "},
		"a key that is not there":                    {"{tls: {cert: cert.pem, key: none.pem}}", "weir.yaml:1:30: mqtt.tls.key: open "},
		"a key of another certificate":               {"{tls: {cert: cert.pem, key: other.pem}}", "weir.yaml:1:14: mqtt.tls.cert: "},
		"a CA that is none":                          {"{tls: {cert: cert.pem, key: key.pem, client_ca: key.pem}}", "weir.yaml:1:44: mqtt.tls.client_ca: no certificate in PEM form"},
		"a certificate for WebSocket only":           {"{listen: '', tls: {listen: '', cert: none.pem, key: key.pem}, websocket: {listen: '127.0.0.1:0', tls: true}}", "weir.yaml:1:38: mqtt.tls.cert: open "},
	} {
		dir := t.TempDir()
		writeFiles(t, dir, map[string]string{"cert.pem": cert, "key.pem": key, "other.pem": other, "users.yaml": "users: []\n"})
		_, err := Check(config(t, dir, "mqtt: "+tt.mqtt+sources))
		var list strict.Errors
		if !errors.As(err, &list) || len(list) != 1 || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}

// TestRunTakesWhatCheckTakes opens what check finds right, at the limits of it.
func TestRunTakesWhatCheckTakes(t *testing.T) {
	cert, key := authority.New(t).PEM("server")
	for name, text := range map[string]string{
		"the smallest ring":                "mqtt: {listen: '127.0.0.1:0', anonymous: true, limits: {max_packet: 1KiB}}\nlog: {ring: 642KiB, batch: 4KiB, partitions: 1}\n",
		"a ring for the largest packet":    "mqtt: {listen: '127.0.0.1:0', anonymous: true, limits: {max_packet: 4MiB, write_buffer: 16MiB}}\nlog: {ring: 8832KiB, partitions: 1}\n",
		"a certificate for WebSocket only": "mqtt: {listen: '', anonymous: true, tls: {listen: '', cert: cert.pem, key: key.pem}, websocket: {listen: '127.0.0.1:0', tls: true}}\n",
		"anonymous clients and users":      "mqtt: {listen: '127.0.0.1:0', anonymous: true, users_file: users.yaml}\n",
	} {
		dir := t.TempDir()
		writeFiles(t, dir, map[string]string{"cert.pem": cert, "key.pem": key, "users.yaml": "users: []\nanonymous: {acl: []}\n"})
		c := config(t, dir, text+"http: {listen: ''}\nsources: [{name: p, topic: 'p/{device}'}]\n")
		if _, err := Check(c); err != nil {
			t.Errorf("%s: check: %v", name, err)
			continue
		}
		a, err := New(c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err = a.Open(t.Context()); err == nil {
			err = a.broker.Open(t.Context())
		}
		if err != nil {
			t.Errorf("%s: open: %v", name, err)
		}
		a.Close()
	}
}
