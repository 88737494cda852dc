package broker

import "github.com/mochi-mqtt/server/v2/packets"

// watchUsers follows the users file until the broker closes.
func (b *Broker) watchUsers() {
	if err := b.access.Watch(b.ctx, func() { _ = b.ReloadUsers() }); err != nil {
		b.log.Warn("users file is not watched, changes need a restart", "err", err)
	}
}

// ReloadUsers reads the users file again. After an error, which is logged, the
// old content stays in force. Clients that could not connect any more are
// disconnected; for the others the new rules hold from now on.
func (b *Broker) ReloadUsers() error {
	if err := b.access.Load(); err != nil {
		b.stats.ReloadErrors.Add(1)
		b.log.Error("users file not reloaded, the old users stay", "err", err)
		return err
	}
	b.stats.Reloads.Add(1)
	b.mu.Lock()
	clients := make([]*conn, 0, len(b.clients))
	for c := range b.clients {
		clients = append(clients, c)
	}
	b.mu.Unlock()
	gone := 0
	for _, c := range clients {
		p := b.access.Again(c.rights())
		if p == nil {
			gone++
			c.dropWill()
			_ = b.server.DisconnectClient(c.cl, packets.ErrNotAuthorized)
			continue
		}
		c.principal.Store(p)
		if c.will != nil && !p.CanPublish(c.will.topic) {
			c.dropWill()
		}
	}
	b.reviewWills() // after the clients: a connection may have ended meanwhile
	b.Invalidate()
	b.log.Info("users file reloaded", "disconnected", gone)
	return nil
}

// dropWill takes the will from a client that has lost the right to it.
func (c *conn) dropWill() {
	if c.will != nil {
		c.b.wills.drop(c.will)
	}
}
