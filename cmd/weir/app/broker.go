package app

import (
	"errors"
	"fmt"
	"os"

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
	if m.TLS.On() {
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
	_, err = access.Parse(name, src)
	return err
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
