package broker

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	pahov5 "github.com/eclipse/paho.golang/paho"
	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/gorilla/websocket"
	"golang.org/x/crypto/bcrypt"

	"weir/test/authority"
)

// roundTrip publishes with QoS 0, 1 and 2 to itself through paho.
func roundTrip(t *testing.T, r *rig, broker string, tc *tls.Config, id string) {
	t.Helper()
	got := make(chan string, 16)
	o := paho.NewClientOptions().AddBroker(broker).SetClientID(id).SetTLSConfig(tc).SetAutoReconnect(false).SetOrderMatters(true)
	c := paho.NewClient(o)
	wait := func(what string, tok paho.Token) {
		t.Helper()
		if !tok.WaitTimeout(patience) || tok.Error() != nil {
			t.Fatalf("%s: %v", what, tok.Error())
		}
	}
	wait("connect", c.Connect())
	defer c.Disconnect(100)
	wait("subscribe", c.Subscribe("sensors/#", 2, func(_ paho.Client, m paho.Message) { got <- string(m.Payload()) }))
	for qos := range 3 {
		wait("publish", c.Publish("sensors/a", byte(qos), false, fmt.Sprint(qos)))
		select {
		case p := <-got:
			if p != fmt.Sprint(qos) {
				t.Errorf("received %q, want %d", p, qos)
			}
		case <-time.After(patience):
			t.Fatal("nothing received")
		}
	}
}

func TestTLSWithClientCertificates(t *testing.T) {
	a, dir := authority.New(t), t.TempDir()
	a.WriteCA(filepath.Join(dir, "authority.pem"))
	a.Write(dir, "server")
	users := filepath.Join(t.TempDir(), "users.yaml")
	if err := os.WriteFile(users, []byte("users: [{name: device-1, acl: [{topic: \"#\", allow: all}]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, func(c *Config, _ *Deps) {
		c.Anonymous, c.UsersFile = false, users
		c.TLS = TLS{Listen: "127.0.0.1:0", Cert: filepath.Join(dir, "server.pem"), Key: filepath.Join(dir, "server.key"), ClientCA: filepath.Join(dir, "authority.pem"), CertUser: true}
	})
	addr := r.b.Addr("tls").String()
	roundTrip(t, r, "ssl://"+addr, a.Client("device-1"), "dev")
	if n := len(r.messages()); n != 3 {
		t.Errorf("%d messages in the log, want 3", n)
	}
	nc, err := tls.Dial("tcp", addr, a.Client(""))
	if err == nil { // in TLS 1.3 the refusal comes with the first read
		if _, err = nc.Read(make([]byte, 1)); err == nil {
			t.Error("a client without a certificate was let in")
		}
		nc.Close()
	}
	eventually(t, "the refusal is counted", func() bool { return r.b.Stats().Refused["tls"] == 1 })
	// The certificate is renewed without a restart.
	serial := func() string {
		nc, err := tls.Dial("tcp", addr, a.Client("device-1"))
		if err != nil {
			return err.Error()
		}
		defer nc.Close()
		return nc.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	a.Write(dir, "server")
	eventually(t, "the new certificate is served", func() bool { return serial() != before })
}

func TestAMissingCertificateIsAnErrorOfOpen(t *testing.T) {
	cfg := Default()
	cfg.TLS = TLS{Listen: "127.0.0.1:0", Cert: "/nowhere/cert.pem", Key: "/nowhere/key.pem"}
	l := newLogRig(8<<20, false)
	b, err := New(cfg, Deps{Log: quiet(), Route: func(string) Route { return Route{} }, Partitions: []Partition{{l.ring, l.mark}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Open(context.Background()); err == nil {
		t.Error("Open did not fail")
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	l.ring.Close()
}

func TestAPortThatIsTakenIsAnErrorOfOpen(t *testing.T) {
	r := start(t)
	cfg := Default()
	cfg.Anonymous, cfg.Listen = true, r.b.Addr("tcp").String()
	b, err := New(cfg, Deps{Log: quiet(), Route: func(string) Route { return Route{} }, Partitions: []Partition{{r.logs[0].ring, r.logs[0].mark}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Open(context.Background()); err == nil {
		t.Error("Open did not fail")
	}
	_ = b.Close()
	_ = b.Close()
}

// A client that is let in while the broker closes must not meet the library's
// Close: the race detector sees it.
func TestClientsThatConnectWhileTheBrokerCloses(t *testing.T) {
	for range 20 {
		r := start(t)
		addr := r.b.Addr("tcp").String()
		var clients sync.WaitGroup
		for i := range 8 {
			clients.Go(func() {
				for { // until it closes
					nc, err := net.Dial("tcp", addr)
					if err != nil {
						return
					}
					_, _ = nc.Write([]byte(connectPacket(fmt.Sprint("c", i), true, false, "")))
					nc.Close()
				}
			})
		}
		eventually(t, "clients come", func() bool { return r.b.Stats().Accepted > 20 })
		if err := r.b.Close(); err != nil {
			t.Error(err)
		}
		clients.Wait()
	}
}

func TestWebSocket(t *testing.T) {
	a, dir := authority.New(t), t.TempDir()
	a.Write(dir, "server")
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			r := start(t, func(c *Config, _ *Deps) {
				c.WebSocket.Listen, c.WebSocket.TLS, c.WebSocket.Origins = "127.0.0.1:0", secure, []string{"https://console.example"}
				c.TLS.Cert, c.TLS.Key = filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")
			})
			scheme := map[bool]string{false: "ws", true: "wss"}[secure]
			addr := r.b.Addr("websocket").String()
			roundTrip(t, r, scheme+"://"+addr+"/mqtt", a.Client(""), "web")
			d := websocket.Dialer{TLSClientConfig: a.Client(""), Subprotocols: []string{"mqtt"}}
			for _, tt := range []struct {
				name, path, origin string
				want               int
			}{
				{"an allowed origin", "/mqtt", "https://console.example", http.StatusSwitchingProtocols},
				{"another origin", "/mqtt", "https://evil.example", http.StatusForbidden},
				{"another path", "/", "https://console.example", http.StatusNotFound},
			} {
				u := url.URL{Scheme: scheme, Host: addr, Path: tt.path}
				ws, resp, err := d.Dial(u.String(), http.Header{"Origin": {tt.origin}})
				if resp == nil {
					t.Fatalf("%s: %v", tt.name, err)
				}
				if resp.StatusCode != tt.want {
					t.Errorf("%s: status %d, want %d", tt.name, resp.StatusCode, tt.want)
				}
				if ws == nil {
					continue
				}
				if ws.Subprotocol() != "mqtt" {
					t.Errorf("subprotocol %q", ws.Subprotocol())
				}
				if err := ws.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
					t.Fatal(err)
				}
				if _, _, err := ws.ReadMessage(); err == nil {
					t.Error("text was answered")
				}
				ws.Close()
			}
		})
	}
}

func TestUsersAndTheirRights(t *testing.T) {
	h, err := bcrypt.GenerateFromPassword([]byte("pw"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(t.TempDir(), "users.yaml")
	write := func(acl string) {
		t.Helper()
		src := fmt.Sprintf("users:\n  - {name: ann, password: %q, acl: [%s]}\n  - {name: bob, password: %q, acl: []}\n", h, acl, h)
		if err := os.WriteFile(users, []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{topic: "sensors/%c/#", allow: publish}, {topic: "out/#", allow: subscribe}, {topic: "out/secret", allow: deny}`)
	r := start(t, func(c *Config, _ *Deps) { c.Anonymous, c.UsersFile = false, users })
	connect := func(id, user, pw, will string, v5 bool) (*client, string) {
		c := r.dial()
		c.v5 = v5
		body, flags := str("MQTT"), byte(0xc2)
		if will != "" {
			flags |= 4
		}
		body += map[bool]string{false: "\x04", true: "\x05"}[v5] + string([]byte{flags}) + id16(60)
		if v5 {
			body += "\x00"
		}
		body += str(id)
		if will != "" {
			if v5 {
				body += "\x00"
			}
			body += str(will) + str("gone")
		}
		c.send(frame(0x10, body+str(user)+str(pw)))
		return c, c.recv()
	}
	for _, tt := range []struct {
		id, user, pw, will string
		want               byte // before MQTT 5
		want5              byte
	}{
		{"c1", "ann", "pw", "", 0, 0},
		{"c1", "ann", "nope", "", 5, 0x86},
		{"c1", "eve", "pw", "", 5, 0x86},
		{"c1", "ann", "pw", "sensors/c1/will", 0, 0},
		{"c1", "ann", "pw", "sensors/c2/will", 5, 0x87},
		{"c1", "ann", "pw", "sensors/#", 5, 0x90},
	} {
		for _, v5 := range []bool{false, true} {
			c, p := connect(tt.id, tt.user, tt.pw, tt.will, v5)
			want := map[bool]byte{false: tt.want, true: tt.want5}[v5]
			if len(p) < 4 || p[3] != want {
				t.Errorf("%+v, v5 %v: CONNACK %x, want code %#x", tt, v5, p, want)
			}
			c.send("\xe0\x00")
			for c.recv() != "" {
			}
			eventually(t, "the session ends", func() bool { return r.b.Stats().Clients == 0 })
		}
	}
	c, _ := connect("c1", "ann", "pw", "", true)
	c.send(c.pub("sensors/c1/t", "x", 1, 1) + c.pub("sensors/c2/t", "x", 1, 2) + c.pub("sensors/c1/t", "y", 1, 3) + c.pub("sensors/c2/t", "x", 2, 4) + c.pub("sensors/c2/t", "x", 0, 0))
	c.expect("an ack", ack(typePuback, 1))
	c.expect("a refusal in its place", "\x40\x03\x00\x02\x87")
	c.expect("an ack", ack(typePuback, 3))
	c.expect("a refusal of QoS 2", "\x50\x03\x00\x04\x87")
	c.send(frame(0x82, id16(5)+"\x00"+str("out/#")+"\x01"+str("#")+"\x01"+str("out/secret")+"\x01"+str("$share/g/out/+")+"\x01"))
	c.expect("SUBACK", "\x90\x07\x00\x05\x00\x01\x87\x87\x01")
	if err := r.b.Publish(t.Context(), "out/secret", []byte("x"), 0, false); err != nil {
		t.Fatal(err)
	}
	if err := r.b.Publish(t.Context(), "out/open", []byte("x"), 0, false); err != nil {
		t.Fatal(err)
	}
	if p := c.recv(); len(p) < 12 || p[4:12] != "out/open" {
		t.Errorf("received %q, want only what is on out/open", p)
	}
	if n := len(r.messages()); n != 2 {
		t.Errorf("%d messages in the log, want the 2 that are allowed", n)
	}
	if _, p := connect("c1", "bob", "pw", "", true); len(p) < 4 || p[3] == 0 {
		t.Errorf("bob has taken over ann's session: %x", p)
	}
	// Before MQTT 5 a refusal closes the connection.
	c3, _ := connect("c3", "ann", "pw", "", false)
	c3.send(c3.pub("sensors/c1/t", "x", 1, 1))
	if p := c3.recv(); p != "" {
		t.Errorf("a refused publish was answered with %x", p)
	}
	write("") // ann keeps her session and loses her rights
	if err := r.b.ReloadUsers(); err != nil {
		t.Fatal(err)
	}
	c.in = nil
	c.send(c.pub("sensors/c1/t", "z", 1, 9))
	for p := c.recv(); p != "\x40\x03\x00\x09\x87"; p = c.recv() {
		if p == "" || p[0]>>4 == 4 {
			t.Fatalf("after the reload: %x, want a refusal", p)
		}
	}
	if err := os.WriteFile(users, []byte("users: []"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.b.ReloadUsers(); err != nil {
		t.Fatal(err)
	}
	if p := c.recv(); len(p) < 3 || p[0] != 0xe0 || byte(p[2]) != 0x87 {
		t.Errorf("a user that is gone got %x, want DISCONNECT 0x87", p)
	}
}

func TestMQTT5ClientOfPaho(t *testing.T) {
	r := start(t)
	nc, err := net.Dial("tcp", r.b.Addr("tcp").String())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *pahov5.Publish, 16)
	c := pahov5.NewClient(pahov5.ClientConfig{Conn: nc, OnPublishReceived: []func(pahov5.PublishReceived) (bool, error){
		func(p pahov5.PublishReceived) (bool, error) { got <- p.Packet; return true, nil },
	}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ca, err := c.Connect(ctx, &pahov5.Connect{ClientID: "v5", CleanStart: true, KeepAlive: 30})
	if err != nil || ca.ReasonCode != 0 || *ca.Properties.ReceiveMaximum != 8000 || *ca.Properties.TopicAliasMaximum != 32 || *ca.Properties.MaximumPacketSize != 1<<20 {
		t.Fatalf("connack %+v %+v: %v", ca, ca.Properties, err)
	}
	if _, err := c.Subscribe(ctx, &pahov5.Subscribe{Subscriptions: []pahov5.SubscribeOptions{{Topic: "sensors/#", QoS: 2}}}); err != nil {
		t.Fatal(err)
	}
	for qos := range 3 {
		pub := &pahov5.Publish{Topic: "sensors/a", QoS: byte(qos), Payload: []byte("p"), Properties: &pahov5.PublishProperties{ContentType: "text/plain"}}
		pub.Properties.User.Add("k", "v")
		if _, err := c.Publish(ctx, pub); err != nil {
			t.Fatal(err)
		}
		select {
		case p := <-got:
			if p.QoS != byte(qos) || p.Properties.ContentType != "text/plain" || p.Properties.User.Get("k") != "v" {
				t.Errorf("received %+v", p)
			}
		case <-ctx.Done():
			t.Fatal("nothing received")
		}
	}
	_ = c.Disconnect(&pahov5.Disconnect{})
}
