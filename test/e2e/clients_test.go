package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"
	v5 "github.com/eclipse/paho.golang/paho"
	paho "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/crypto/bcrypt"

	"weir/test/authority"
)

func hash(t *testing.T, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

// user is an entry of a users file that may publish the telemetry of devices of its own name.
func user(name, hash string) string {
	return fmt.Sprintf(`
  - name: %s
    password: "%s"
    acl:
      - {topic: "plant/+/%%u/telemetry", allow: publish}
      - {topic: "news/#", allow: subscribe}
`, name, hash)
}

// guarded starts a weir with users, and with every kind of listener.
func guarded(t *testing.T, users string) (*weir, *authority.Authority) {
	dir := t.TempDir()
	ca := authority.New(t)
	ca.WriteCA(filepath.Join(dir, "ca.pem"))
	ca.Write(dir, "server")
	return start(t, dir, map[string]string{"rules/a.yaml": strings.Replace(warm, "          - send: ops\n", "", 1), "users.yaml": "users:" + users, "weir.yaml": `
log: {partitions: 2}
mqtt:
  listen: "127.0.0.1:0"
  users_file: users.yaml
  tls: {listen: "127.0.0.1:0", cert: server.pem, key: server.key, client_ca: ca.pem, client_cert: optional, cert_user: true}
  websocket: {listen: "127.0.0.1:0"}
http: {listen: "127.0.0.1:0"}
rules: ["rules/*.yaml"]
` + sources}), ca
}

func as(name, password string) func(*paho.ClientOptions) {
	return func(o *paho.ClientOptions) { o.SetUsername(name).SetPassword(password) }
}

// refused reports whether weir does not let a client in.
func refused(url string, change func(*paho.ClientOptions)) bool {
	o := paho.NewClientOptions().AddBroker(url).SetClientID("stranger").SetAutoReconnect(false).SetConnectTimeout(patience)
	change(o)
	c := paho.NewClient(o)
	defer c.Disconnect(0)
	token := c.Connect()
	return token.WaitTimeout(patience) && token.Error() != nil
}

func TestEveryWayInLeadsToTheLog(t *testing.T) {
	w, ca := guarded(t, user("ann", hash(t, "secret"))+user("carl", hash(t, "other")))
	port := func(kind string) string { return w.app.Addr(kind).String() }
	const mine = "plant/oslo/ann/telemetry"

	connect(t, w.mqtt(), "tcp", as("ann", "secret")).say(mine, reading(-20))
	connect(t, "ws://"+port("websocket")+"/mqtt", "ws", as("ann", "secret")).say(mine, reading(-21))
	connect(t, "ssl://"+port("tls"), "tls", func(o *paho.ClientOptions) {
		as("ann", "secret")(o)
		o.SetTLSConfig(ca.Client(""))
	}).say(mine, reading(-22))
	// The common name of the certificate is the user: no password.
	connect(t, "ssl://"+port("tls"), "cert", func(o *paho.ClientOptions) { o.SetTLSConfig(ca.Client("carl")) }).say("plant/oslo/carl/telemetry", reading(-23))

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i, dial := range []func() (net.Conn, error){
		func() (net.Conn, error) { return net.Dial("tcp", port("tcp")) },
		func() (net.Conn, error) { return tls.Dial("tcp", port("tls"), ca.Client("")) },
	} {
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		c := v5.NewClient(v5.ClientConfig{Conn: packets.NewThreadSafeConn(conn)})
		if _, err := c.Connect(ctx, &v5.Connect{ClientID: fmt.Sprint("five-", i), CleanStart: true, KeepAlive: 30,
			Username: "ann", UsernameFlag: true, Password: []byte("secret"), PasswordFlag: true}); err != nil {
			t.Fatalf("connect by MQTT 5: %v", err)
		}
		if _, err := c.Publish(ctx, &v5.Publish{Topic: mine, QoS: 1, Payload: []byte(reading(-24 - float64(i)))}); err != nil {
			t.Fatalf("publish by MQTT 5: %v", err)
		}
		// What the list does not allow is refused with its reason, and logged nowhere.
		resp, err := c.Publish(ctx, &v5.Publish{Topic: "plant/oslo/carl/telemetry", QoS: 1, Payload: []byte(reading(-99))})
		if resp == nil || resp.ReasonCode != packets.PubackNotAuthorized {
			t.Errorf("publish for another device: %+v, %v; want reason %#x", resp, err, packets.PubackNotAuthorized)
		}
		if _, err := c.Subscribe(ctx, &v5.Subscribe{Subscriptions: []v5.SubscribeOptions{{Topic: "plant/#", QoS: 1}}}); err == nil {
			t.Error("subscribed to everybody's telemetry")
		}
		if err := c.Disconnect(&v5.Disconnect{}); err != nil {
			t.Error(err)
		}
	}
	var got []float64
	for _, l := range w.lines("topic=plant/%23") {
		v, _ := l.Fields["temperature"].(float64)
		got = append(got, v)
	}
	slices.Sort(got)
	if fmt.Sprint(got) != "[-25 -24 -23 -22 -21 -20]" {
		t.Errorf("temperatures in the log: %v", got)
	}

	for name, change := range map[string]func(*paho.ClientOptions){
		"a wrong password": as("ann", "guess"), "an unknown user": as("eve", "secret"), "no user": func(*paho.ClientOptions) {},
	} {
		if !refused(w.mqtt(), change) {
			t.Errorf("%s got in", name)
		}
	}
	if !refused("ssl://"+port("tls"), func(o *paho.ClientOptions) { o.SetTLSConfig(authority.New(t).Client("carl")) }) {
		t.Error("a certificate of another authority got in")
	}
}

func TestAnEditOfTheUsersFileCountsFromThenOn(t *testing.T) {
	ann := user("ann", hash(t, "secret"))
	w, _ := guarded(t, ann)
	c := connect(t, w.mqtt(), "ann-1", as("ann", "secret"))
	if !refused(w.mqtt(), as("bob", "builder")) {
		t.Fatal("bob got in")
	}
	w.edit("users.yaml", "users:"+ann+user("bob", hash(t, "builder")))
	until(t, "bob gets in", func() bool { return !refused(w.mqtt(), as("bob", "builder")) })
	if !c.IsConnectionOpen() {
		t.Error("ann was disconnected by an edit that does not concern her")
	}

	w.edit("users.yaml", "users:\n  - {nam: x}\n")
	until(t, "the mistake is in the log", func() bool { return strings.Contains(w.log.String(), `users.yaml:2:6`) })
	if refused(w.mqtt(), as("bob", "builder")) || !c.IsConnectionOpen() {
		t.Error("a mistake in the file changed who may connect")
	}

	w.edit("users.yaml", "users:"+user("bob", hash(t, "builder")))
	until(t, "ann is disconnected", func() bool { return !c.IsConnectionOpen() })
	if !refused(w.mqtt(), as("ann", "secret")) {
		t.Error("ann is gone and gets in")
	}
}

func TestAnEditOfTheRulesCountsFromThenOnAndABadOneNotAtAll(t *testing.T) {
	w, _ := guarded(t, user("f1", hash(t, "x")))
	c := connect(t, w.mqtt(), "f1", as("f1", "x"))
	const topic = "plant/oslo/f1/telemetry"
	rules := strings.Replace(warm, "          - send: ops\n", "", 1)
	printed := func(what string) bool { return strings.Contains(w.out.String(), what) }

	c.say(topic, reading(-16)) // no alert at -15
	w.edit("rules/a.yaml", strings.NewReplacer("temperature > -15", "temperature > -16.5", "FreezerWarm", "FreezerWarmer").Replace(rules))
	until(t, "the rules are reloaded", func() bool { return strings.Contains(w.log.String(), "rules reloaded") })
	c.say(topic, reading(-16))
	until(t, "the new rule fires", func() bool { return printed("alert firing cold-room/FreezerWarmer device=f1") })
	if printed("FreezerWarm ") {
		t.Errorf("the old rule fired:\n%s", w.out.String())
	}

	w.edit("rules/a.yaml", strings.Replace(rules, "temperature > -15", "temprature >", 1))
	until(t, "the mistake is in the log", func() bool { return strings.Contains(w.log.String(), "a.yaml:8:") })
	c.say(topic, reading(-18))
	until(t, "the rule from before goes on", func() bool { return printed("alert resolved cold-room/FreezerWarmer device=f1") })
	if _, body := w.get("/metrics"); !strings.Contains(body, `weir_rules_reloads_total{result="refused"} 1`) || !strings.Contains(body, `weir_rules_reloads_total{result="done"} 1`) {
		t.Error("the reloads are not counted")
	}
	// A file that is added counts too.
	w.edit("rules/b.yaml", "groups:\n  - name: more\n    rules: [{alert: Odd, expr: temperature == -42}]\n")
	w.edit("rules/a.yaml", rules)
	until(t, "both files are in force", func() bool {
		_, body := w.get("/api/v1/rules")
		return strings.Contains(body, "more/Odd") && strings.Contains(body, "cold-room/FreezerWarm")
	})
	c.say(topic, reading(-42))
	until(t, "the added rule fires", func() bool { return printed("alert firing more/Odd device=f1") })
}

func TestRulesAreWatchedByTheNamesOfTheirFoldersAndNotByWhatTheseOnceWere(t *testing.T) {
	w, _ := guarded(t, user("f1", hash(t, "x")))
	c := connect(t, w.mqtt(), "f1", as("f1", "x"))
	const topic = "plant/oslo/f1/telemetry"
	printed := func(what string) bool { return strings.Contains(w.out.String(), what) }
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(filepath.Join(w.dir, from), filepath.Join(w.dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	group := func(name string, limit int) string {
		return fmt.Sprintf("groups:\n  - name: g\n    rules: [{alert: %s, expr: temperature > %d}]\n", name, limit)
	}
	c.say(topic, reading(-14))
	until(t, "the rule of the start fires", func() bool { return printed("alert firing cold-room/FreezerWarm device=f1") })

	rename("rules", "away")
	until(t, "the missing folder is refused", func() bool { return strings.Contains(w.log.String(), "put the folder back") })
	if printed("alert resolved") {
		t.Error("a folder that is gone ended an alert")
	}
	w.edit("next/a.yaml", group("Moved", -20))
	rename("next", "rules")
	until(t, "the folder in its place counts", func() bool { return printed("alert resolved cold-room/FreezerWarm") })
	c.say(topic, reading(-14))
	until(t, "its rule fires", func() bool { return printed("alert firing g/Moved") })

	// A file that is a link changes with the file that it names.
	inForce := func(rule string) func() bool {
		return func() bool { _, body := w.get("/api/v1/rules"); return strings.Contains(body, rule) }
	}
	linked := func(name string) string { return strings.Replace(group(name, -20), "name: g", "name: h", 1) }
	w.edit("elsewhere/b.yaml", linked("First"))
	if err := os.Symlink("../elsewhere/b.yaml", filepath.Join(w.dir, "rules/b.yaml")); err != nil {
		t.Fatal(err)
	}
	until(t, "what a link names is in force", inForce("h/First"))
	w.edit("elsewhere/b.yaml", linked("Second"))
	until(t, "what a link names now is in force", inForce("h/Second"))
}

func TestWhatWasRetainedAndSubscribedOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{"weir.yaml": `
log: {partitions: 1}
mqtt: {listen: "127.0.0.1:0", anonymous: true}
http: {listen: "127.0.0.1:0"}
` + sources}
	w := start(t, dir, files)
	c := connect(t, w.mqtt(), "keeper", nil)
	c.done("retain", c.Publish("news/today", 1, true, "sun"))
	c.say("plant/oslo/f1/telemetry", reading(-20))
	w.stop()

	w = start(t, dir, nil)
	c = connect(t, w.mqtt(), "reader", nil)
	c.hear("news/#")
	c.heard("news/today", func(p string) bool { return p == "sun" })
	until(t, "the device is known again", func() bool {
		_, body := w.get("/api/v1/devices")
		return strings.Contains(body, `"id":"f1"`)
	})
	if all := w.lines("topic=plant/%23"); len(all) != 1 {
		t.Errorf("log after a restart: %+v", all)
	}
}
