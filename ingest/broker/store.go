package broker

import (
	"context"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Store keeps small values across restarts.
type Store interface {
	Save(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
	Load(ctx context.Context, prefix string, each func(key string, value []byte) error) error
}

func (b *Broker) restore(ctx context.Context) error { return nil }
func (b *Broker) saveSession(cl *mqtt.Client)       {}
func (b *Broker) dropSession(id string)             {}
func (b *Broker) saveRetained(pk packets.Packet)    {}
func (b *Broker) dropRetained(topic string)         {}
func (b *Broker) writeBehind()                      {}
