package broker

import (
	"sync"
	"time"
)

const (
	noticeEvery = time.Second // between two lines of the log about one cause
	noticeText  = 128         // bytes that are logged of a name that a client chose
)

// notices holds back lines of the log that clients cause, so that none can fill
// it: one a second for each cause, with the number that was left out before it.
type notices struct {
	mu   sync.Mutex
	last map[string]notice
}

type notice struct {
	at         time.Time
	suppressed int
}

// allow reports whether a line may be logged now, and how many were left out.
func (n *notices) allow(cause string, now time.Time) (suppressed int, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l, seen := n.last[cause]
	if seen && now.Sub(l.at) < noticeEvery {
		l.suppressed++
		n.last[cause] = l
		return 0, false
	}
	if n.last == nil {
		n.last = map[string]notice{}
	}
	n.last[cause] = notice{at: now}
	return l.suppressed, true
}

// who are the attributes of a line about a client.
func who(cause, client, user, remote string, suppressed int) []any {
	return []any{"cause", cause, "client", clip(client), "user", clip(user), "remote", remote, "suppressed", suppressed}
}

func clip(s string) string {
	if len(s) > noticeText {
		return s[:noticeText] + "..."
	}
	return s
}

// clientRefused logs that a connection was refused. cause is one of a few.
func (b *Broker) clientRefused(cause, client, user, remote string, more ...any) {
	if n, ok := b.notices.allow("client "+cause, time.Now()); ok {
		b.log.Warn("client refused", append(who(cause, client, user, remote, n), more...)...)
	}
}

// denied logs that the ACL refused a publish or a subscription.
func (c *conn) denied(what, topic string) {
	n, ok := c.b.notices.allow(what, time.Now())
	if !ok {
		return
	}
	user := ""
	if p := c.rights(); p != nil {
		user = p.User
	}
	c.b.log.Warn("refused by the ACL", append(who(what, c.cl.ID, user, c.cl.Net.Remote, n), "topic", clip(topic))...)
}

// tooSlow counts and logs a client that is cut off because it does not take, or
// does not acknowledge, what it is sent.
func (c *conn) tooSlow(why string) {
	if c.slow.Swap(true) {
		return
	}
	c.b.stats.SlowClients.Add(1)
	n, ok := c.b.notices.allow("slow", time.Now())
	if !ok {
		return
	}
	id, user := "", ""
	if p := c.rights(); p != nil { // set before it is sent anything
		id, user = c.cl.ID, p.User
	}
	c.b.log.Warn("slow client disconnected", append(who("slow", id, user, c.Conn.RemoteAddr().String(), n), "why", why)...)
}
