package lineprotocol

import (
	"math"
	"testing"
)

func TestNames(t *testing.T) {
	for _, tt := range []struct{ in, measurement, name string }{
		{"plain", "plain", "plain"},
		{"", "(empty)", "(empty)"},
		{"a b,c=d", `a\ b\,c=d`, `a\ b\,c\=d`},
		{"#1", `\#1`, "#1"},
		{"a\nb\r\t\f", `a\nb\r\t\f`, `a\nb\r\t\f`},
		{"a\x00b\x1f\x7f", "a?b??", "a?b??"},
		{"Østre 温度", `Østre\ 温度`, `Østre\ 温度`},
		{"a\xffb\xc3", "a?b?", "a?b?"},
		{"\uFFFD", "\uFFFD", "\uFFFD"},
		{`C:\data`, `C:\data`, `C:\data`},
		{`C:\`, `C:/`, `C:/`},
		{`\\server\share`, `\\server\share`, `\\server\share`},
		{`a\\`, `a//`, `a//`},
		{`a\ b`, `a/\ b`, `a/\ b`},
		{`a\=b`, `a\=b`, `a/\=b`},
		{"a\\\nb", `a/\nb`, `a/\nb`},
	} {
		if got := string(AppendMeasurement(nil, tt.in)); got != tt.measurement {
			t.Errorf("measurement %q: %q, want %q", tt.in, got, tt.measurement)
		}
		if got := string(AppendName([]byte("x,"), tt.in)); got != "x,"+tt.name {
			t.Errorf("name %q: %q, want %q behind x,", tt.in, got, tt.name)
		}
	}
}

func TestValues(t *testing.T) {
	for _, tt := range []struct {
		got  []byte
		want string
	}{
		{AppendString(nil, ""), `""`}, {AppendString(nil, "a b"), `"a b"`}, {AppendString(nil, "a\"b\\c\nd"), "\"a\\\"b\\\\c\nd\""}, {AppendString(nil, "é\xff\"温"), `"é?\"温"`},
		{AppendFloat(nil, 21.5, ""), "21.5"}, {AppendFloat(nil, 21.5, "21.50"), "21.50"}, {AppendFloat(nil, 1e21, ""), "1e+21"}, {AppendFloat(nil, math.SmallestNonzeroFloat64, ""), "5e-324"},
		{AppendInt(nil, math.MinInt64), "-9223372036854775808i"}, {AppendUint(nil, math.MaxUint64), "18446744073709551615u"}, {AppendBool(nil, true), "true"},
	} {
		if string(tt.got) != tt.want {
			t.Errorf("%s, want %s", tt.got, tt.want)
		}
	}
	if Finite(math.NaN()) || Finite(math.Inf(1)) || !Finite(math.MaxFloat64) {
		t.Error("Finite is wrong")
	}
}

func BenchmarkAppendName(b *testing.B) {
	for _, tt := range []struct{ name, in string }{{"plain", "device-0042"}, {"escaped", "cold room, north"}} {
		b.Run(tt.name, func(b *testing.B) {
			buf := make([]byte, 0, 64)
			b.ReportAllocs()
			for b.Loop() {
				buf = AppendName(buf[:0], tt.in)
			}
		})
	}
}
