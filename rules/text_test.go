package rules

import (
	"math"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestFloatsAreWrittenAsPeopleDo(t *testing.T) {
	for _, tt := range []struct {
		f    float64
		want string
	}{
		{0, "0"}, {-12.5, "-12.5"}, {1000000, "1000000"}, {123456789012, "123456789012"}, {0.1 + 0.2, "0.3"}, {1.1 * 1.1, "1.21"},
		{-4.35 * 100, "-435"}, {1e21, "1e+21"}, {1e-7, "1e-07"}, {0.000001, "0.000001"}, {math.Pi, "3.14159265358979"},
		{9007199254740993, "9007199254740992"}, {math.Inf(1), "+Inf"}, {math.NaN(), "NaN"}, {100 * 1.1, "110"},
	} {
		if got := formatFloat(tt.f); got != tt.want {
			t.Errorf("formatFloat(%v) = %s, want %s", tt.f, got, tt.want)
		}
	}
}

func TestTheEndOfATemplatesExpression(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int
	}{
		{" a }} b", 3}, {"}}", 0}, {"a }", -1}, {`"}}" }}`, 5}, {`'\'}}' }}`, 7}, {"`}}\\` }}", 6}, {"{a: 1}.a }}", 9}, {"{a: {b: 1}}.a.b }}", 16}, {`"a`, -1},
	} {
		if got := closing(tt.text); got != tt.want {
			t.Errorf("closing(%s) = %d, want %d", tt.text, got, tt.want)
		}
	}
}

func FuzzEncodeLevel(f *testing.F) {
	for _, s := range []string{"f3", "", "a/b+c#d%e", "Kühlraum 1", "\x00\x1f\x7f\u0085", "\xff\xfe", "a%2Fb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := encodeLevel(s)
		if strings.ContainsAny(got, "/+#") || !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Fatalf("encodeLevel(%q) = %q is no topic level", s, got)
		}
		back, err := url.PathUnescape(got)
		if err != nil || back != s {
			t.Fatalf("encodeLevel(%q) = %q, which decodes to %q: %v", s, got, back, err)
		}
	})
}
