package access

import (
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"weir/configs/strict"
)

// Set is the content of a users file. It is immutable.
type Set struct {
	users     map[string]*user
	anonymous []rule // rights of clients without a name
	open      bool   // there is no file: whoever may connect may do everything
}

type user struct {
	name     string
	hash     []byte // bcrypt; nil: no password will do
	clientID string // pattern; "": any
	rules    []rule
}

type rule struct {
	filter             string
	publish, subscribe bool
	deny               bool
}

type fileEntry struct {
	Users     []userEntry     `yaml:"users"`
	Anonymous *anonymousEntry `yaml:"anonymous"`
}

type userEntry struct {
	Name     strict.String         `yaml:"name"`
	Password strict.String         `yaml:"password"`
	ClientID strict.String         `yaml:"client_id"`
	ACL      []ruleEntry           `yaml:"acl"`
	Pos      strict.Pos            `yaml:"-"`
	Keys     map[string]strict.Pos `yaml:"-"`
}

type anonymousEntry struct {
	ACL []ruleEntry `yaml:"acl"`
}

type ruleEntry struct {
	Topic strict.String `yaml:"topic"`
	Allow strict.String `yaml:"allow"`
	Pos   strict.Pos    `yaml:"-"`
}

const (
	aclHint  = `e.g. acl: [{topic: "sensors/%c/#", allow: publish}], or acl: [] for no rights at all`
	hashHint = "make one with weir's own command, or htpasswd -nbB NAME PASSWORD"
)

// Parse reads a users file. Its error is a strict.Errors with every problem.
func Parse(file string, src []byte) (*Set, error) {
	var f fileEntry
	var errs strict.Errors
	if err := strict.Decode(file, src, &f); err != nil {
		list, ok := err.(strict.Errors)
		if !ok {
			return nil, err
		}
		errs = list
	}
	s := &Set{users: map[string]*user{}}
	seen := map[string]strict.Pos{}
	for i := range f.Users {
		e := &f.Users[i]
		name := e.Name.Value
		if name == "" {
			errs.Addf(file, e.Pos, "e.g. name: plant-7", "user without a name")
			continue
		}
		if at, ok := seen[name]; ok {
			errs.Addf(file, e.Name.Pos, "give each user once, with all its rules", "user %q stands in line %d already", name, at.Line)
			continue
		}
		seen[name] = e.Name.Pos
		u := &user{name: name, clientID: e.ClientID.Value, rules: rules(file, e.ACL, &errs)}
		if p := e.Password; p.Value != "" {
			u.hash = []byte(p.Value)
			if _, err := bcrypt.Cost(u.hash); err != nil {
				errs.Addf(file, p.Pos, hashHint, "the password of user %q is not a bcrypt hash", name)
			}
		} else if _, ok := e.Keys["password"]; ok {
			errs.Addf(file, e.Keys["password"], hashHint, "the password of user %q is empty", name)
		}
		if _, ok := e.Keys["acl"]; !ok {
			errs.Addf(file, e.Pos, aclHint, "user %q has no acl", name)
		}
		s.users[name] = u
	}
	if f.Anonymous != nil {
		s.anonymous = rules(file, f.Anonymous.ACL, &errs)
		if s.anonymous == nil {
			s.anonymous = []rule{}
		}
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

func rules(file string, in []ruleEntry, errs *strict.Errors) []rule {
	out := make([]rule, 0, len(in))
	for _, e := range in {
		r := rule{filter: e.Topic.Value}
		switch {
		case r.filter == "":
			errs.Addf(file, e.Pos, aclHint, "rule without a topic")
		case strings.HasPrefix(strings.ToLower(r.filter), "$share/"):
			errs.Addf(file, e.Topic.Pos, "write the filter without $share/<group>/: shared subscriptions need the same right", "topic %q names a share", r.filter)
		case !validFilter(r.filter):
			errs.Addf(file, e.Topic.Pos, `+ and # stand for whole levels, # only for the last, e.g. "sensors/+/#"`, "topic %q is not a valid filter", r.filter)
		}
		for rest := r.filter; ; {
			_, after, ok := strings.Cut(rest, "%")
			if !ok {
				break
			}
			if after == "" || after[0] != 'u' && after[0] != 'c' {
				errs.Addf(file, e.Topic.Pos, "%u is the user's name, %c the client id", "topic %q: unknown placeholder", r.filter)
				break
			}
			rest = after[1:]
		}
		switch e.Allow.Value {
		case "publish":
			r.publish = true
		case "subscribe":
			r.subscribe = true
		case "all":
			r.publish, r.subscribe = true, true
		case "deny":
			r.deny = true
		case "":
			errs.Addf(file, e.Pos, "one of publish, subscribe, all, deny", "rule without allow")
		default:
			hint := "one of publish, subscribe, all, deny"
			if near := strict.Suggest(e.Allow.Value, []string{"publish", "subscribe", "all", "deny"}); near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			errs.Addf(file, e.Allow.Pos, hint, "allow: unknown value %q", e.Allow.Value)
		}
		out = append(out, r)
	}
	return out
}

// HashPassword returns the bcrypt hash of a password, as a users file wants
// it. Passwords of more than 72 bytes are an error: bcrypt would cut them.
func HashPassword(password []byte) (string, error) {
	h, err := bcrypt.GenerateFromPassword(password, bcrypt.DefaultCost)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return string(h), nil
}
