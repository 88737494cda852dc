package app

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"weir/configs"
	"weir/configs/strict"
	"weir/ingest/broker"
	"weir/ingest/broker/access"
)

// brokerConfig converts the config's section mqtt.
func brokerConfig(c *configs.Config) broker.Config {
	m, l := c.MQTT, c.MQTT.Limits
	out := broker.Default()
	out.Listen = m.Listen.Value
	if m.TLS.Cert.Value != "" { // for the TLS listener, the WebSocket listener, or both
		out.TLS = broker.TLS{Listen: m.TLS.Listen.Value, Cert: c.Path(m.TLS.Cert.Value), Key: c.Path(m.TLS.Key.Value),
			ClientCA: c.Path(m.TLS.ClientCA.Value), ClientCert: m.TLS.ClientCert.Value, CertUser: m.TLS.CertUser}
	}
	out.WebSocket.Listen, out.WebSocket.Path = m.WebSocket.Listen.Value, m.WebSocket.Path.Value
	out.WebSocket.TLS = m.WebSocket.TLS
	for _, o := range m.WebSocket.Origins {
		out.WebSocket.Origins = append(out.WebSocket.Origins, o.Value)
	}
	out.Anonymous, out.UsersFile = m.Anonymous, c.Path(m.UsersFile.Value)
	out.Limits = broker.Limits{
		MaxPacket: int(l.MaxPacket), MaxConnect: int(l.MaxConnect), Connections: l.MaxConnections, PerAddress: l.ConnectionsPerAddress,
		AcceptRate: l.AcceptRate, ConnectTimeout: l.ConnectTimeout, KeepAliveMax: l.KeepaliveMax, ReceiveMaximum: l.ReceiveMaximum,
		MaxInflight: l.MaxInflight, PendingWrites: l.PendingWrites, WriteBuffer: int(l.WriteBuffer), WriteTimeout: l.WriteTimeout,
		SessionExpiry: l.SessionExpiry, TopicAliasMaximum: l.TopicAliasMaximum, PublishRate: l.PublishRate,
		RetainedMessages: l.RetainedMessages, Subscriptions: l.Subscriptions,
	}
	return out
}

// checkUsers checks the users file, if there is one.
func checkUsers(c *configs.Config) error {
	if c.MQTT.UsersFile.Value == "" {
		return nil
	}
	name := c.Path(c.MQTT.UsersFile.Value)
	src, err := os.ReadFile(name)
	if err != nil {
		return strict.Errors{{File: c.File, Pos: c.MQTT.UsersFile.Pos, Msg: fmt.Sprintf("mqtt.users_file: %v", err), Hint: "configs/users.example.yaml shows one"}}
	}
	if _, err = access.Parse(name, src); err != nil {
		return err
	}
	if !c.MQTT.Anonymous {
		return nil
	}
	// What is wrong with the two together, judged as the broker does.
	if err := access.New(access.Config{Anonymous: true, File: name}).Load(); err != nil {
		return strict.Errors{{File: c.File, Pos: c.MQTT.At("anonymous"), Msg: err.Error(),
			Hint: "anonymous: {acl: []} gives them no rights; configs/users.example.yaml shows one"}}
	}
	return nil
}

// checkBroker checks what the broker's listeners need: limits that agree with
// one another, and certificates that can be read.
func checkBroker(c *configs.Config) error {
	var all strict.Errors
	bcfg := brokerConfig(c)
	if err := bcfg.Validate(); err != nil {
		list := []error{err}
		if j, ok := err.(interface{ Unwrap() []error }); ok {
			list = j.Unwrap()
		}
		for _, err := range list {
			all = append(all, &strict.Error{File: c.File, Pos: mqttPos(c, err.Error()), Msg: err.Error()})
		}
	}
	t := c.MQTT.TLS
	if t.Cert.Value == "" || t.Key.Value == "" || t.Listen.Value == "" && !(c.MQTT.WebSocket.TLS && c.MQTT.WebSocket.Listen.Value != "") {
		return all.Err()
	}
	bad := func(key string, err error, hint string) {
		all = append(all, &strict.Error{File: c.File, Pos: t.At(key), Msg: fmt.Sprintf("mqtt.tls.%s: %v", key, err), Hint: hint})
	}
	readable := true
	for _, f := range []struct{ key, name string }{{"cert", bcfg.TLS.Cert}, {"key", bcfg.TLS.Key}} {
		if _, err := os.ReadFile(f.name); err != nil {
			bad(f.key, err, "names are relative to the folder of the config")
			readable = false
		}
	}
	if readable {
		if _, err := tls.LoadX509KeyPair(bcfg.TLS.Cert, bcfg.TLS.Key); err != nil {
			bad("cert", fmt.Errorf("%s with key %s: %w", bcfg.TLS.Cert, bcfg.TLS.Key, err), "a certificate, with those of its issuers behind it, and its key, both in PEM form")
		}
	}
	if bcfg.TLS.ClientCA == "" {
		return all.Err()
	}
	pem, err := os.ReadFile(bcfg.TLS.ClientCA)
	switch {
	case err != nil:
		bad("client_ca", err, "names are relative to the folder of the config")
	case !x509.NewCertPool().AppendCertsFromPEM(pem):
		bad("client_ca", fmt.Errorf("no certificate in PEM form in %s", bcfg.TLS.ClientCA), "the certificate of the authority that signs those of clients")
	}
	return all.Err()
}

// mqttPos finds the key that a message of the broker begins with, such as
// "mqtt.limits.max_packet: ...".
func mqttPos(c *configs.Config, msg string) strict.Pos {
	name, _, _ := strings.Cut(msg, ":")
	section, key, nested := strings.Cut(strings.TrimPrefix(name, "mqtt."), ".")
	switch {
	case !nested:
		return c.MQTT.At(section)
	case section == "tls":
		return c.MQTT.TLS.At(key)
	case section == "websocket":
		return c.MQTT.WebSocket.At(key)
	case section == "limits":
		return c.MQTT.Limits.At(key)
	}
	return c.MQTT.Pos
}

// joined returns located errors together, and any other error as it is.
func joined(errs ...error) error {
	var all strict.Errors
	for _, err := range errs {
		if err == nil {
			continue
		}
		var list strict.Errors
		if !errors.As(err, &list) {
			return err
		}
		all = append(all, list...)
	}
	if len(all) == 0 {
		return nil
	}
	return all
}
