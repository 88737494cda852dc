package broker

// stats are the broker's counters. Every goroutine adds to them.
type stats struct {
	Accepted, Received, Fast, Logged, Acked, FannedOut, Wills               counter
	RefusedAuth, RefusedACL, RefusedTopic, RefusedFilter, RefusedBusy       counter
	RefusedAddress, RefusedRate, RefusedTLS, RetainedRefused                counter
	TooLarge, Malformed, ReceiveMaximum, ConnectTimeouts, KeepAliveTimeouts counter
	SlowClients, DroppedSlow, WindowWaits, LogClosed, Reloads, ReloadErrors counter
	StoreErrors, StoreDropped                                               counter
}

// Stats is a snapshot of what the broker has done since it was made.
type Stats struct {
	// Gauges.
	Connections   int // sockets
	Clients       int // with a CONNACK
	Sessions      int // of clients that are connected or may come back
	Subscriptions int
	Retained      int

	Accepted uint64 // sockets accepted
	Received uint64 // publishes from clients, whatever became of them
	Fast     uint64 // of these, taken by the connection itself
	Slow     uint64 // of these, read by mochi
	Logged   uint64 // messages put into a ring, wills and the broker's own included
	Acked    uint64 // PUBACK and PUBREC sent, refusals included
	Sent     uint64 // messages sent to subscribers
	Fanned   uint64 // of these, sent without mochi
	Wills    uint64 // wills published

	BytesReceived uint64
	BytesSent     uint64

	Refused      map[string]uint64 // by cause: connections and packets refused
	Disconnected map[string]uint64 // by cause: connections that the broker ended
	Dropped      map[string]uint64 // by cause: messages to subscribers, writes to the store

	WindowWaits  uint64 // times that a client was not read because its acks were owed
	Reloads      uint64 // of the users file
	ReloadErrors uint64
	StoreErrors  uint64
}

// Stats returns a snapshot. The keys of its maps are always all there.
func (b *Broker) Stats() Stats {
	s, info := &b.stats, b.server.Info.Clone()
	fast, slow := s.Fast.Load(), s.Received.Load()
	b.mu.Lock()
	sessions, conns, clients := len(b.sessions), len(b.conns), len(b.clients)
	b.mu.Unlock()
	return Stats{
		Connections: conns, Clients: clients, Sessions: sessions,
		Subscriptions: int(info.Subscriptions), Retained: b.server.Topics.Retained.Len(),
		Accepted: s.Accepted.Load(), Received: fast + slow, Fast: fast, Slow: slow,
		Logged: s.Logged.Load(), Acked: s.Acked.Load(), Sent: uint64(info.MessagesSent), Fanned: s.FannedOut.Load(), Wills: s.Wills.Load(),
		BytesReceived: uint64(info.BytesReceived), BytesSent: uint64(info.BytesSent),
		Refused: map[string]uint64{
			"credentials": s.RefusedAuth.Load(), "acl": s.RefusedACL.Load(), "topic": s.RefusedTopic.Load(), "filter": s.RefusedFilter.Load(),
			"busy": s.RefusedBusy.Load(), "address": s.RefusedAddress.Load(), "tls": s.RefusedTLS.Load(), "retained": s.RetainedRefused.Load(),
		},
		Disconnected: map[string]uint64{
			"packet_too_large": s.TooLarge.Load(), "malformed": s.Malformed.Load(), "receive_maximum": s.ReceiveMaximum.Load(),
			"connect_timeout": s.ConnectTimeouts.Load(), "keep_alive": s.KeepAliveTimeouts.Load(), "slow": s.SlowClients.Load(), "log_closed": s.LogClosed.Load(),
		},
		Dropped:     map[string]uint64{"slow_subscriber": s.DroppedSlow.Load(), "inflight_full": uint64(info.InflightDropped), "store": s.StoreDropped.Load()},
		WindowWaits: s.WindowWaits.Load(), Reloads: s.Reloads.Load(), ReloadErrors: s.ReloadErrors.Load(), StoreErrors: s.StoreErrors.Load(),
	}
}
