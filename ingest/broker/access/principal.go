package access

import "strings"

// Principal is an authenticated client and its rights. It is immutable; the
// methods of a nil Principal deny.
type Principal struct {
	User     string // "" for an anonymous client
	ClientID string
	secret   string // the password's hash, to see whether it was changed
	cert     bool   // authenticated by a certificate
	open     bool
	rules    []rule // placeholders filled in
}

func (s *Set) principal(u *user, clientID string, cert bool) *Principal {
	p := &Principal{ClientID: clientID, cert: cert, open: s.open}
	in := s.anonymous
	if u != nil {
		p.User, p.secret, in = u.name, string(u.hash), u.rules
	}
	for _, r := range in {
		if !strings.Contains(r.filter, "%") {
			p.rules = append(p.rules, r)
			continue
		}
		if strings.Contains(r.filter, "%u") && widens(p.User) || strings.Contains(r.filter, "%c") && widens(clientID) {
			if r.deny { // it can't be told what it was to deny: nothing is allowed
				p.rules = append(p.rules, rule{filter: "#", deny: true}, rule{filter: "$SYS/#", deny: true})
			}
			continue
		}
		r.filter = strings.NewReplacer("%u", p.User, "%c", clientID).Replace(r.filter)
		p.rules = append(p.rules, r)
	}
	return p
}

// widens reports whether a name would change what a filter means.
func widens(name string) bool {
	return name == "" || strings.ContainsAny(name, "/+#") || name[0] == '$'
}

// CanPublish reports whether the client may publish to a topic.
func (p *Principal) CanPublish(topic string) bool {
	return p.may(func(r *rule) bool { return r.publish && Match(r.filter, topic) }, topic)
}

// CanReceive reports whether the client may be sent what is published on a topic.
func (p *Principal) CanReceive(topic string) bool {
	return p.may(func(r *rule) bool { return r.subscribe && Match(r.filter, topic) }, topic)
}

func (p *Principal) may(allows func(*rule) bool, topic string) bool {
	if p == nil {
		return false
	}
	ok := p.open
	for i := range p.rules {
		r := &p.rules[i]
		if r.deny && Match(r.filter, topic) {
			return false
		}
		ok = ok || allows(r)
	}
	return ok
}

// CanSubscribe reports whether the client may subscribe to a filter: one rule
// must cover it whole. A shared subscription needs the right to its filter.
func (p *Principal) CanSubscribe(filter string) bool {
	if p == nil {
		return false
	}
	filter = unshare(filter)
	ok := p.open
	for i := range p.rules {
		r := &p.rules[i]
		if r.deny && Covers(r.filter, filter) {
			return false
		}
		ok = ok || r.subscribe && Covers(r.filter, filter)
	}
	return ok
}
