package access

import "context"

type Config struct {
	Anonymous bool
	File      string
	CertUser  bool
}
type Control struct{ cfg Config }
type Credentials struct {
	User     string
	HasUser  bool
	Password []byte
	ClientID string
	CertUser string
}
type Principal struct{}

func New(cfg Config) *Control  { return &Control{cfg} }
func (c *Control) Load() error { return nil }
func (c *Control) Authenticate(ctx context.Context, k Credentials) (*Principal, error) {
	return &Principal{}, nil
}
func (c *Control) Offline(user, id string) *Principal { return &Principal{} }
func (p *Principal) CanPublish(topic string) bool     { return true }
func (p *Principal) CanReceive(topic string) bool     { return true }
func (p *Principal) CanSubscribe(topic string) bool   { return true }
