package access

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

func hash(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func parse(t testing.TB, src string) *Set {
	t.Helper()
	s, err := Parse("users.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRightsFollowTheRules(t *testing.T) {
	s := parse(t, `
users:
  - name: ann
    acl:
      - {topic: "sensors/%c/#", allow: publish}
      - {topic: "users/%u/+", allow: all}
      - {topic: "#", allow: subscribe}
      - {topic: "secret/#", allow: deny}
  - {name: "a/b", acl: [{topic: "users/%u/x", allow: all}]}
  - {name: bob, acl: [{topic: "$SYS/#", allow: subscribe}, {topic: "a/+/c", allow: subscribe}]}
  - {name: nobody, acl: []}
  - {name: careful, acl: [{topic: "#", allow: all}, {topic: "x/%c/#", allow: deny}]}
`)
	for _, tt := range []struct {
		user, client, do, topic string
		want                    bool
	}{
		{"ann", "c1", "publish", "sensors/c1/t", true},
		{"ann", "c1", "publish", "sensors/c1", true},
		{"ann", "c1", "publish", "sensors/c2/t", false},
		{"ann", "c1", "publish", "users/ann/x", true},
		{"ann", "c1", "publish", "users/bob/x", false},
		{"ann", "c1", "publish", "secret/x", false},
		{"ann", "+", "publish", "sensors/c9/t", false},
		{"ann", "a/b", "publish", "sensors/a/b/t", false},
		{"ann", "#", "publish", "sensors/x", false},
		{"ann", "c1", "subscribe", "#", true},
		{"ann", "c1", "subscribe", "$share/g/#", true},
		{"ann", "c1", "subscribe", "secret/a", false},
		{"ann", "c1", "subscribe", "secret/#", false},
		{"ann", "c1", "subscribe", "$share/g/secret/#", false},
		{"ann", "c1", "subscribe", "$SYS/#", false},
		{"ann", "c1", "receive", "anything/at/all", true},
		{"ann", "c1", "receive", "secret/a", false},
		{"ann", "c1", "receive", "$SYS/a", false},
		{"a/b", "c1", "publish", "users/a/b/x", false},
		{"bob", "c1", "subscribe", "$SYS/broker/#", true},
		{"bob", "c1", "subscribe", "#", false},
		{"bob", "c1", "subscribe", "a/+/c", true},
		{"bob", "c1", "subscribe", "a/b/c", true},
		{"bob", "c1", "subscribe", "a/#", false},
		{"bob", "c1", "publish", "a/b/c", false},
		{"nobody", "c1", "publish", "x", false},
		{"nobody", "c1", "subscribe", "x", false},
		{"careful", "c1", "publish", "x/c1/y", false},
		{"careful", "c1", "publish", "x/c2/y", true},
		{"careful", "a/b", "publish", "x/c2/y", false},
	} {
		p := s.principal(s.users[tt.user], tt.client, false)
		got := map[string]func(string) bool{"publish": p.CanPublish, "subscribe": p.CanSubscribe, "receive": p.CanReceive}[tt.do](tt.topic)
		if got != tt.want {
			t.Errorf("%s as %q may %s %q: %v, want %v", tt.user, tt.client, tt.do, tt.topic, got, tt.want)
		}
	}
	var none *Principal
	if none.CanPublish("a") || none.CanSubscribe("a") || none.CanReceive("a") {
		t.Error("a nil principal has rights")
	}
}

func TestABadFileIsRefusedWithPlaceAndRemedy(t *testing.T) {
	for _, tt := range []struct{ name, src, want string }{
		{"a misspelt key", "users:\n  - nam: x\n    acl: []\n", "users.yaml:2:5: "},
		{"a plain password", "users:\n  - {name: x, password: hunter2, acl: []}\n", `2:25: the password of user "x" is not a bcrypt hash`},
		{"an empty password", "users:\n  - {name: x, password: \"\", acl: []}\n", `the password of user "x" is empty`},
		{"no acl", "users:\n  - {name: x}\n", `2:5: user "x" has no acl`},
		{"no name", "users:\n  - {acl: []}\n", "2:5: user without a name"},
		{"a user twice", "users:\n  - {name: x, acl: []}\n  - {name: x, acl: []}\n", `3:12: user "x" stands in line 2 already`},
		{"a bad filter", "users:\n  - {name: x, acl: [{topic: a#, allow: all}]}\n", `topic "a#" is not a valid filter`},
		{"a bad verb", "users:\n  - {name: x, acl: [{topic: a, allow: publsh}]}\n", `allow: unknown value "publsh"`},
		{"no verb", "users:\n  - {name: x, acl: [{topic: a}]}\n", "rule without allow"},
		{"no topic", "users:\n  - {name: x, acl: [{allow: all}]}\n", "rule without a topic"},
		{"a share", "users:\n  - {name: x, acl: [{topic: $share/g/a, allow: all}]}\n", "names a share"},
		{"a placeholder that is none", "users:\n  - {name: x, acl: [{topic: a/%d, allow: all}]}\n", "unknown placeholder"},
		{"a bad rule for anonymous clients", "anonymous:\n  acl: [{topic: a, allow: no}]\n", "2:27: allow: unknown value"},
		{"no YAML", "users: [\n", "users.yaml:"},
	} {
		_, err := Parse("users.yaml", []byte(tt.src))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the password: %v", tt.name, err)
		}
	}
}

// topics returns every topic of up to three levels over a small alphabet.
func topics() (all []string) {
	names := []string{"a", "b", "", "$S"}
	for _, a := range names {
		all = append(all, a)
		for _, b := range names {
			all = append(all, a+"/"+b)
			for _, c := range names {
				all = append(all, a+"/"+b+"/"+c)
			}
		}
	}
	return all
}

func TestCoversIsWhatMatchSays(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	filter := func() string {
		var l []string
		for range 1 + rnd.IntN(3) {
			l = append(l, []string{"a", "b", "+", "+", "$S", ""}[rnd.IntN(6)])
		}
		if rnd.IntN(3) == 0 {
			l = append(l[:len(l)-1], "#")
		}
		return strings.Join(l, "/")
	}
	all := topics()
	for range 20_000 {
		wide, f := filter(), filter()
		if !Covers(wide, f) {
			continue
		}
		for _, topic := range all {
			if Match(f, topic) && !Match(wide, topic) {
				t.Fatalf("Covers(%q, %q), but %q matches only the second", wide, f, topic)
			}
		}
	}
	for _, f := range []string{"a", "a/b", "+/a", "a/#", "#", "a/+/#", "$S/#"} {
		if !Covers(f, f) {
			t.Errorf("Covers(%q, %q) is false", f, f)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/b/c/d", false}, {"a/+", "a/b", true}, {"a/+", "a", false}, {"a/+", "a/", true},
		{"a/#", "a", true}, {"a/#", "a/b/c", true}, {"#", "a", true}, {"#", "$SYS/a", false}, {"+/a", "$SYS/a", false},
		{"$SYS/#", "$SYS/a", true}, {"+", "/a", false}, {"+/+", "/a", true}, {"/+", "/a", true}, {"", "", true}, {"a", "ab", false},
	} {
		if got := Match(tt.filter, tt.topic); got != tt.want {
			t.Errorf("Match(%q, %q) = %v", tt.filter, tt.topic, got)
		}
	}
}

func TestAuthenticate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users.yaml")
	write := func(src string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("users:\n" +
		"  - {name: ann, password: \"" + hash(t, "secret") + "\", acl: []}\n" +
		"  - {name: dev, password: \"" + hash(t, "pw") + "\", client_id: \"%u-*\", acl: []}\n" +
		"  - {name: cert, acl: []}\n")
	c := New(Config{File: file})
	if err := c.Load(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		k    Credentials
		want error
	}{
		{"the right password", Credentials{User: "ann", HasUser: true, Password: []byte("secret")}, nil},
		{"the right password again, from the cache", Credentials{User: "ann", HasUser: true, Password: []byte("secret")}, nil},
		{"a wrong password", Credentials{User: "ann", HasUser: true, Password: []byte("Secret")}, ErrCredentials},
		{"no password", Credentials{User: "ann", HasUser: true}, ErrCredentials},
		{"another user's password", Credentials{User: "dev", HasUser: true, Password: []byte("secret")}, ErrCredentials},
		{"an unknown user", Credentials{User: "eve", HasUser: true, Password: []byte("secret")}, ErrCredentials},
		{"no user", Credentials{}, ErrAnonymous},
		{"an empty user name", Credentials{HasUser: true, Password: []byte("secret")}, ErrAnonymous},
		{"a client id of the user's", Credentials{User: "dev", HasUser: true, Password: []byte("pw"), ClientID: "dev-7"}, nil},
		{"a client id of another user's", Credentials{User: "dev", HasUser: true, Password: []byte("pw"), ClientID: "ann-7"}, ErrClientID},
		{"a certificate", Credentials{CertUser: "cert"}, nil},
		{"a certificate and its user name", Credentials{CertUser: "cert", User: "cert", HasUser: true}, nil},
		{"a certificate and another user name", Credentials{CertUser: "cert", User: "ann", HasUser: true, Password: []byte("secret")}, ErrCertificate},
		{"a certificate of an unknown user", Credentials{CertUser: "eve"}, ErrCredentials},
		{"a user that has no password", Credentials{User: "cert", HasUser: true}, ErrCredentials},
	} {
		p, err := c.Authenticate(context.Background(), tt.k)
		if !errors.Is(err, tt.want) || (p == nil) == (err == nil) {
			t.Errorf("%s: %+v, %v, want error %v", tt.name, p, err, tt.want)
		}
	}
	p, _ := c.Authenticate(context.Background(), Credentials{User: "ann", HasUser: true, Password: []byte("secret")})
	if c.Again(p) == nil {
		t.Error("a connected user is refused although nothing changed")
	}
	write("users: [{name: ann, password: nonsense, acl: []}]")
	if err := c.Load(); err == nil || c.Again(p) == nil {
		t.Errorf("a broken file: error %v; the old users must stay", err)
	}
	write("users: [{name: ann, password: \"" + hash(t, "other") + "\", acl: []}]")
	if err := c.Load(); err != nil || c.Again(p) != nil {
		t.Errorf("another password: error %v; who connected with the old one must go", err)
	}
	if _, err := c.Authenticate(context.Background(), Credentials{User: "ann", HasUser: true, Password: []byte("secret")}); err == nil {
		t.Error("the old password is still good, from the cache")
	}
	if c.Offline("ann", "x") == nil || c.Offline("dev", "dev-1") != nil {
		t.Error("rights of absent clients don't follow the file")
	}
}

func TestAnonymousClientsNeedASection(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users.yaml")
	if err := os.WriteFile(file, []byte("users: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := New(Config{File: file, Anonymous: true})
	if err := c.Load(); err == nil || !strings.Contains(err.Error(), "anonymous: {acl:") {
		t.Errorf("error %v, want one that shows the section", err)
	}
	if err := os.WriteFile(file, []byte("anonymous: {acl: [{topic: a, allow: publish}]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Load(); err != nil {
		t.Fatal(err)
	}
	p, err := c.Authenticate(context.Background(), Credentials{})
	if err != nil || !p.CanPublish("a") || p.CanPublish("b") {
		t.Errorf("anonymous: %+v, %v", p, err)
	}
}

func TestAChangeOfTheFileIsSeen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users.yaml")
	if err := os.WriteFile(file, []byte("users: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := New(Config{File: file})
	ctx, cancel := context.WithCancel(context.Background())
	seen, done := make(chan struct{}, 16), make(chan error, 1)
	go func() { done <- c.Watch(ctx, func() { seen <- struct{}{} }) }()
	deadline := time.After(time.Minute)
	for n := 0; ; n++ { // replaced, as an editor does; again until the watch has begun
		if err := os.WriteFile(file+".new", []byte("users: [] #"+strings.Repeat("x", n)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
		select {
		case <-seen:
		case <-time.After(300 * time.Millisecond):
			continue
		case <-deadline:
			t.Fatal("no change was reported")
		}
		break
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestHashPassword(t *testing.T) {
	h, err := HashPassword([]byte("secret"))
	if err != nil || bcrypt.CompareHashAndPassword([]byte(h), []byte("secret")) != nil {
		t.Errorf("hash %q, %v", h, err)
	}
	if _, err := HashPassword(make([]byte, 73)); err == nil {
		t.Error("a password longer than bcrypt can tell was taken")
	}
}

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a*", "abc", true}, {"*", "", true}, {"a*c", "abc", true}, {"a*c", "ab", false},
		{"a*b*c", "a1b2c", true}, {"a*b*c", "a1c2b", false}, {"ab*ba", "aba", false}, {"**", "x", true},
	} {
		if got := glob(tt.pattern, tt.text); got != tt.want {
			t.Errorf("glob(%q, %q) = %v", tt.pattern, tt.text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("users: [{name: x, acl: [{topic: a/%u, allow: all}]}]\nanonymous: {acl: []}\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		s, err := Parse("u", src)
		if (s == nil) == (err == nil) {
			t.Fatalf("set %v, error %v: want one of them", s, err)
		}
		if err != nil {
			return
		}
		for _, u := range s.users {
			p := s.principal(u, "c", false)
			if len(u.rules) == 0 && (p.CanPublish("a") || p.CanSubscribe("a")) {
				t.Fatalf("user %q has rights without a rule", u.name)
			}
		}
	})
}
