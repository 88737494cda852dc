package configs

import (
	"fmt"
	"io"
	"log/slog"
	"strings"

	"gopkg.in/yaml.v3"

	"weir/configs/strict"
)

const redacted = "[redacted]"

// Secret is a text that is never printed: every way of writing it gives
// "[redacted]". Reveal gives the text.
//
// The text is behind a pointer because fmt, where a verb does not fit a value,
// prints what it finds without asking its methods; so it finds an address.
type Secret struct{ text *string }

// NewSecret returns a Secret that holds text.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal returns the secret itself, for the one place that sends it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsEmpty reports whether there is no secret.
func (s Secret) IsEmpty() bool { return s.Reveal() == "" }

// UnmarshalStrict takes a text.
func (s *Secret) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	var text string
	if n.Kind != yaml.ScalarNode {
		d.Errorf(n, "", "want a text")
	} else if d.Decode(n, &text) {
		*s = NewSecret(text)
	}
}

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (Secret) GoString() string { return redacted }

// Format writes "[redacted]" for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) } // fmt.State keeps no error

// MarshalText returns "[redacted]".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[redacted]" as JSON text.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalYAML returns "[redacted]".
func (Secret) MarshalYAML() (any, error) { return redacted, nil }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// URL is the address of another system. As addresses often hold a password or
// a token, it is printed without user, path and query; Reveal gives all of it.
type URL struct {
	text Secret
	Pos  strict.Pos // zero if the file does not say it
}

// NewURL returns a URL without a position.
func NewURL(text string) URL { return URL{text: NewSecret(text)} }

// Reveal returns the whole address, for the one place that uses it.
func (u URL) Reveal() string { return u.text.Reveal() }

// IsEmpty reports whether there is no address.
func (u URL) IsEmpty() bool { return u.text.IsEmpty() }

// String returns what can be shown: scheme and host of each address in a list
// separated by commas, and whether more follows.
func (u URL) String() string {
	list := strings.Split(u.Reveal(), ",")
	for i, one := range list {
		scheme, rest, ok := strings.Cut(one, "://")
		if !ok {
			if strings.ContainsAny(one, "@/?:") {
				list[i] = redacted
			}
			continue
		}
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		host, more := rest[:end], strings.Trim(rest[end:], "/")
		if at := strings.LastIndexByte(host, '@'); at >= 0 {
			host = redacted + "@" + host[at+1:]
		}
		list[i] = scheme + "://" + host
		if more != "" {
			list[i] += "/" + redacted
		}
	}
	return strings.Join(list, ",")
}

// GoString returns the same as String.
func (u URL) GoString() string { return u.String() }

// Format writes what String returns, for every verb.
func (u URL) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, u.String()) } // fmt.State keeps no error

// MarshalText returns the same as String.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// MarshalYAML returns the same as String.
func (u URL) MarshalYAML() (any, error) { return u.String(), nil }

// LogValue returns the same as String.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// UnmarshalStrict takes a text.
func (u *URL) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	var s strict.String
	if d.Decode(n, &s) {
		*u = URL{text: NewSecret(s.Value), Pos: s.Pos}
	}
}
