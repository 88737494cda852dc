package broker

import (
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
)

// Route says what becomes of a topic.
type Route struct {
	Partition int  // of its device, if Logged
	Logged    bool // it is a source's topic: publishes go to the log
}

const maxTopics = 1024 // topics that a connection's cache holds

// topicInfo is what a connection knows of a topic that its client publishes
// to. It is right as long as gen is the broker's.
type topicInfo struct {
	topic   string
	gen     uint64
	part    int
	logged  bool
	allowed bool
	valid   bool    // it is a topic name that clients may publish to
	fast    bool    // plain frames are taken by the connection
	fan     *fanout // subscribers that plain frames are delivered to; nil: none
	behind  bool    // mochi may still have messages for these subscribers in its queues
	retryAt int64   // until when they are left to mochi: its queues did not get empty, unix ns
}

// lookup returns what is known of a topic. Only the goroutine that reads calls it.
func (c *conn) lookup(topic []byte) *topicInfo {
	r := &c.r
	t := r.last
	if t == nil || t.topic != string(topic) {
		if t = r.topics[string(topic)]; t == nil {
			if r.topics == nil || len(r.topics) >= maxTopics {
				r.topics = map[string]*topicInfo{}
			}
			t = &topicInfo{topic: string(topic)}
			r.topics[t.topic] = t
		}
		r.last = t
	}
	if t.gen != c.b.gen.Load() {
		c.learn(t)
	}
	return t
}

// learn fills in what the broker knows of a topic.
func (c *conn) learn(t *topicInfo) {
	b := c.b
	t.gen = b.gen.Load() // before looking, so that what changes meanwhile is looked up again
	t.valid = t.topic != "" && validText([]byte(t.topic)) && !strings.ContainsAny(t.topic, "+#") && mqtt.IsValidFilter(t.topic, true)
	t.allowed = t.valid && c.rights().CanPublish(t.topic)
	t.logged, t.fast, t.fan = false, false, nil
	if !t.allowed {
		return
	}
	route := b.deps.Route(t.topic)
	t.part, t.logged = route.Partition, route.Logged
	if !t.logged {
		return
	}
	t.fan, t.fast = b.fanout(t.topic)
	t.behind, t.retryAt = true, 0 // retained messages, and what came while it was not looked up
}

// resolve returns what is known of the topic of a plain frame, its alias
// looked up or learnt; nil if mochi is to judge the frame.
func (c *conn) resolve(f *plain) *topicInfo {
	if f.alias == 0 {
		return c.lookup(f.topic)
	}
	if int(f.alias) > c.b.cfg.Limits.TopicAliasMaximum {
		return nil
	}
	r := &c.r
	if len(f.topic) == 0 {
		if int(f.alias) >= len(r.aliases) || r.aliases[f.alias] == "" {
			return nil
		}
		topic := r.aliases[f.alias]
		if r.last != nil && r.last.topic == topic && r.last.gen == c.b.gen.Load() {
			return r.last
		}
		return c.lookup([]byte(topic))
	}
	t := c.lookup(f.topic)
	if t.valid {
		c.alias(f.alias, t.topic)
	}
	return t
}

// alias remembers a topic alias of the client.
func (c *conn) alias(id uint16, topic string) {
	r := &c.r
	if r.aliases == nil {
		r.aliases = make([]string, c.b.cfg.Limits.TopicAliasMaximum+1)
	}
	r.aliases[id] = topic
}
