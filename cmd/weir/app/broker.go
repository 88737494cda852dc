package app

import (
	"errors"
	"fmt"

	"weir/configs"
	"weir/configs/strict"
	"weir/ingest/broker"
)

// brokerConfig converts the config's section mqtt.
func brokerConfig(c *configs.Config) broker.Config {
	m, l := c.MQTT, c.MQTT.Limits
	out := broker.Default()
	out.Listen = m.Listen.Value
	if m.TLS.On() {
		out.TLS = broker.TLS{Listen: m.TLS.Listen.Value, Cert: c.Path(m.TLS.Cert.Value), Key: c.Path(m.TLS.Key.Value),
			ClientCA: c.Path(m.TLS.ClientCA.Value), ClientCert: m.TLS.ClientCert.Value}
	}
	out.WebSocket.Listen, out.WebSocket.Path = m.WebSocket.Listen.Value, m.WebSocket.Path.Value
	for _, o := range m.WebSocket.Origins {
		out.WebSocket.Origins = append(out.WebSocket.Origins, o.Value)
	}
	out.Anonymous, out.UsersFile = m.Anonymous, c.Path(m.UsersFile.Value)
	b := &out.Limits
	b.MaxPacket, b.Connections, b.PerAddress = int(l.MaxPacket), l.MaxConnections, l.ConnectionsPerAddress
	b.AcceptRate, b.PublishRate = int(l.AcceptRate), int(l.PublishRate)
	b.ConnectTimeout, b.WriteTimeout, b.SessionExpiry = l.ConnectTimeout, l.WriteTimeout, l.SessionExpiry
	b.ReceiveMaximum, b.MaxInflight, b.WriteBuffer = l.ReceiveMaximum, l.MaxInflight, int(l.WriteBuffer)
	b.TopicAliasMaximum = l.TopicAliasMaximum
	if l.KeepaliveMax > 0 {
		b.KeepAliveMax = l.KeepaliveMax
	}
	if b.Connections == 0 {
		b.Connections = 10_000_000
	}
	return out
}

// checkUsers checks the users file, if there is one.
func checkUsers(c *configs.Config) error {
	if c.MQTT.UsersFile.Value == "" {
		return nil
	}
	var err error
	if err != nil {
		var list strict.Errors
		if errors.As(err, &list) {
			return err
		}
		return strict.Errors{{File: c.File, Pos: c.MQTT.UsersFile.Pos, Msg: fmt.Sprintf("mqtt.users_file: %v", err), Hint: "configs/users.example.yaml shows one"}}
	}
	return nil
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
