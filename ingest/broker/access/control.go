package access

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/crypto/bcrypt"
)

// Errors of Authenticate. Clients are told no more than "bad user name or
// password", whatever the cause.
var (
	ErrAnonymous   = errors.New("anonymous clients are not allowed")
	ErrCredentials = errors.New("unknown user or wrong password")
	ErrClientID    = errors.New("client id is not allowed for this user")
	ErrCertificate = errors.New("user name is not that of the client certificate")
)

// maxVerified bounds the cache of verified passwords.
const maxVerified = 200_000

// Config says how clients are authenticated.
type Config struct {
	Anonymous bool   // clients without a user name may connect
	File      string // users file; "": there are no users
}

// Credentials are what a CONNECT carries.
type Credentials struct {
	User     string
	HasUser  bool
	Password []byte
	ClientID string
	CertUser string // the user that a verified client certificate names, or ""
}

// Control authenticates clients against a users file that may change. Its
// methods may be called by any goroutine.
type Control struct {
	cfg   Config
	set   atomic.Pointer[Set]
	key   []byte        // of the cache's HMAC: made at start, never written anywhere
	slots chan struct{} // bounds concurrent bcrypt checks, each of which takes 50 ms of a core
	dummy []byte        // a hash to check the passwords of unknown users against

	mu       sync.Mutex
	verified map[[sha256.Size]byte]struct{}
}

// New returns a Control that refuses everybody until Load.
func New(cfg Config) *Control {
	c := &Control{cfg: cfg, key: make([]byte, 32), slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), verified: map[[sha256.Size]byte]struct{}{}}
	_, _ = rand.Read(c.key) // never fails
	c.set.Store(&Set{})
	return c
}

// Load reads the users file. After an error the old content stays in force.
func (c *Control) Load() error {
	if c.cfg.File == "" {
		c.set.Store(&Set{open: true})
		return nil
	}
	src, err := os.ReadFile(c.cfg.File)
	if err != nil {
		return fmt.Errorf("read users file: %w", err)
	}
	s, err := Parse(c.cfg.File, src)
	if err != nil {
		return err
	}
	if c.cfg.Anonymous && s.anonymous == nil {
		return fmt.Errorf("%s: anonymous clients may connect (mqtt.anonymous), but there is no section that says what they may do: add anonymous: {acl: [...]}", c.cfg.File)
	}
	if len(s.users) > 0 {
		c.mu.Lock()
		if c.dummy == nil {
			c.dummy, err = bcrypt.GenerateFromPassword(c.key, s.cost())
		}
		c.mu.Unlock()
		if err != nil {
			return fmt.Errorf("prepare password check: %w", err)
		}
	}
	c.set.Store(s)
	return nil
}

// cost returns the bcrypt cost that most of the file's hashes have.
func (s *Set) cost() int {
	count := map[int]int{}
	best := bcrypt.DefaultCost
	for _, u := range s.users {
		if n, err := bcrypt.Cost(u.hash); err == nil {
			if count[n]++; count[n] > count[best] {
				best = n
			}
		}
	}
	return best
}

// Authenticate returns who a client is and what it may do. Checking a password
// for the first time waits for its turn, until ctx ends.
func (c *Control) Authenticate(ctx context.Context, k Credentials) (*Principal, error) {
	s := c.set.Load()
	if k.CertUser != "" {
		u := s.users[k.CertUser]
		switch {
		case u == nil:
			return nil, ErrCredentials
		case k.HasUser && k.User != k.CertUser:
			return nil, ErrCertificate
		case !u.mayBe(k.ClientID):
			return nil, ErrClientID
		}
		return s.principal(u, k.ClientID, true), nil
	}
	if !k.HasUser || k.User == "" {
		if !c.cfg.Anonymous {
			return nil, ErrAnonymous
		}
		return s.principal(nil, k.ClientID, false), nil
	}
	if c.cfg.File == "" && c.cfg.Anonymous {
		return s.principal(nil, k.ClientID, false), nil // there are no users: the name says nothing
	}
	u := s.users[k.User]
	ok, err := c.check(ctx, u, k.Password)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, ErrCredentials
	case !u.mayBe(k.ClientID):
		return nil, ErrClientID
	}
	return s.principal(u, k.ClientID, false), nil
}

func (u *user) mayBe(clientID string) bool {
	return u.clientID == "" || glob(strings.ReplaceAll(u.clientID, "%u", u.name), clientID)
}

// check compares a password with a user's hash. A password that was right
// before is known by its HMAC; an unknown user takes as long as a wrong password.
func (c *Control) check(ctx context.Context, u *user, password []byte) (bool, error) {
	hash, sum := c.dummy, [sha256.Size]byte{}
	if u != nil && u.hash != nil {
		hash = u.hash
		sum = c.sum(u, password)
		if c.known(sum) {
			return true, nil
		}
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return false, fmt.Errorf("wait for a password check: %w", ctx.Err())
	}
	if u != nil && c.known(sum) { // somebody else has checked it meanwhile
		return true, nil
	}
	ok := bcrypt.CompareHashAndPassword(hash, password) == nil
	if !ok || u == nil || u.hash == nil {
		return false, nil
	}
	c.mu.Lock()
	for old := range c.verified {
		if len(c.verified) < maxVerified {
			break
		}
		delete(c.verified, old)
	}
	c.verified[sum] = struct{}{}
	c.mu.Unlock()
	return true, nil
}

func (c *Control) known(sum [sha256.Size]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.verified[sum]
	return ok
}

func (c *Control) sum(u *user, password []byte) (sum [sha256.Size]byte) {
	m := hmac.New(sha256.New, c.key)
	fmt.Fprintf(m, "%d:%s%d:%s", len(u.name), u.name, len(u.hash), u.hash)
	m.Write(password)
	m.Sum(sum[:0])
	return sum
}

// Offline returns the rights of a client that authenticated earlier, by the
// rules of now; nil if its user is gone.
func (c *Control) Offline(name, clientID string) *Principal {
	s := c.set.Load()
	if name == "" || s.open {
		if !c.cfg.Anonymous {
			return nil
		}
		return s.principal(nil, clientID, false)
	}
	if u := s.users[name]; u != nil && u.mayBe(clientID) {
		return s.principal(u, clientID, false)
	}
	return nil
}

// Again returns the rights of a connected client by the rules of now, nil if
// it could not connect any more: its user is gone or has another password.
func (c *Control) Again(p *Principal) *Principal {
	s := c.set.Load()
	if p.User == "" {
		if !c.cfg.Anonymous {
			return nil
		}
		return s.principal(nil, p.ClientID, false)
	}
	u := s.users[p.User]
	if u == nil || !u.mayBe(p.ClientID) || !p.cert && string(u.hash) != p.secret {
		return nil
	}
	return s.principal(u, p.ClientID, p.cert)
}

// Watch calls changed after the users file was written or replaced, until ctx
// ends. It returns an error if the file can't be watched.
func (c *Control) Watch(ctx context.Context, changed func()) error {
	if c.cfg.File == "" {
		return nil
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch users file: %w", err)
	}
	defer w.Close()
	// The folder is watched: editors and secret mounts replace files.
	if err := w.Add(filepath.Dir(c.cfg.File)); err != nil {
		return fmt.Errorf("watch users file: %w", err)
	}
	settle := time.NewTimer(time.Hour)
	settle.Stop()
	defer settle.Stop()
	before := c.stamp()
	for {
		select {
		case <-w.Events:
			settle.Reset(100 * time.Millisecond) // several events belong to one change
		case <-settle.C:
			if now := c.stamp(); now != before { // it may have been another file of the folder
				before = now
				changed()
			}
		case <-w.Errors: // an overflow: something has changed
			settle.Reset(100 * time.Millisecond)
		case <-ctx.Done():
			return nil
		}
	}
}

// stamp identifies the content of the users file well enough to see a change.
func (c *Control) stamp() [sha256.Size]byte {
	src, err := os.ReadFile(c.cfg.File)
	if err != nil {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(src)
}
