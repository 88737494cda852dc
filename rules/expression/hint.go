package expression

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/expr-lang/expr/file"

	"weir/configs/strict"
)

// What those write who know PromQL.
var (
	rangeOf    = regexp.MustCompile(`(\w+)\s*\(\s*([\w.]+)\s*(?:\{[^{}]*\})?\s*\[\s*([0-9a-z]+)`)
	grouping   = regexp.MustCompile(`\b(by|without)\s*\(([^()]*)\)`)
	selector   = regexp.MustCompile(`\{\s*(\w+)\s*(=~|!~|!=|=)\s*(?:"([^"]*)"|'([^']*)')`)
	isDuration = regexp.MustCompile(`^(?:[0-9]+(?:ms|[smhdwy]))+$`)
	unexpected = regexp.MustCompile(`^unexpected token (\w+)\("(.*)"\)`)
)

// timeHint says what a point in time or a duration is compared with.
func timeHint(msg string) string {
	_, types, ok := strings.Cut(msg, "(mismatched types ")
	if !ok {
		return ""
	}
	a, b, _ := strings.Cut(strings.TrimSpace(strings.TrimSuffix(types, ")")), " and ")
	switch {
	case a == b:
		return ""
	case a == "duration" || b == "duration":
		return `between two points in time there is a duration: compare it with another one, duration("5s")`
	case a == "time" || b == "time":
		return `time and received are points in time: time.Unix() is in seconds, time.Hour() the hour, received - time > duration("5s") a difference`
	}
	return ""
}

// wordOperators are the operators that are words.
func wordOperators() []string {
	return []string{"and", "or", "not", "in", "contains", "matches", "startsWith", "endsWith"}
}

// parseError turns an error of expr's parser into ours, with what was probably meant.
func parseError(source string, err error) *Error {
	e := checkError(source, err)
	switch {
	case e.Hint != "":
	case strings.HasPrefix(e.Msg, "bad number syntax"):
		e.Hint = numberHint(source, strings.Trim(strings.TrimPrefix(e.Msg, "bad number syntax: "), `"`))
	case e.Msg == "literal not terminated":
		e.Msg, e.Hint = "a text is not closed", "end it with the quote that it begins with"
		if at := unclosed(source); at >= 0 {
			e.Offset = at
			e.Hint = fmt.Sprintf("end it with the quote that it begins with: %[1]c…%[1]c", source[at])
		}
	case e.Msg == "unclosed comment":
		e.Hint = "end it with */"
	case strings.Contains(e.Msg, "unexpected token EOF"):
		e.Msg = "the expression ends too early"
		e.Hint = "something is missing behind this, e.g. a value or a closing bracket"
	case strings.Contains(e.Msg, `U+0026`):
		e.Hint = "write and, or &&"
	default:
		if m := unexpected.FindStringSubmatch(e.Msg); m != nil {
			e.Hint = tokenHint(source, m[1], m[2])
		}
	}
	return e
}

// tokenHint says what to write instead of a token that does not belong where it stands.
func tokenHint(source, kind, token string) string {
	switch kind + " " + token {
	case "Operator =", "Operator =~", "Operator !=", "Bracket {":
		if m := selector.FindStringSubmatch(source); m != nil {
			value := m[3] + m[4]
			if m[2] == "=" {
				return fmt.Sprintf("tags are matched by a key of the rule: match: {%s: %s}", m[1], value)
			}
			condition := map[string]string{"!=": "%s != %q", "=~": "%s matches %q", "!~": "not (%s matches %q)"}[m[2]]
			return "make it a condition: " + fmt.Sprintf(condition, m[1], value)
		}
		if token == "=" {
			return "to compare, write =="
		}
		return ""
	case "Operator &", "Identifier AND":
		return "write and, or &&"
	case "Operator |", "Identifier OR":
		return "write or, or ||"
	case "Identifier NOT":
		return "write not, or !"
	case "Identifier by", "Identifier without":
		by := "job"
		if m := grouping.FindStringSubmatch(source); m != nil && m[1] == "by" && strings.TrimSpace(m[2]) != "" {
			by = strings.TrimSpace(m[2])
		}
		return fmt.Sprintf(`by is a key of the rule: by: [%s]; and functions are over a time: sum_over_time(x, "5m")`, by)
	case "Identifier unless":
		return "write and not (...)"
	case "Identifier offset":
		return "there is no offset: the past is what functions over a time see, e.g. first_over_time(x, \"1h\")"
	}
	if kind != "Identifier" {
		return ""
	}
	if near := strict.Suggest(token, wordOperators()); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	return "an operator is missing before it, e.g. and; a text stands in quotes"
}

// numberHint says what to write instead of digits that letters follow.
func numberHint(source, word string) string {
	if m := rangeOf.FindStringSubmatch(source); m != nil && strings.HasPrefix(m[3], word) {
		return fmt.Sprintf("durations are texts: %s(%s, %q)", m[1], m[2], m[3])
	}
	if isDuration.MatchString(word) {
		return fmt.Sprintf("durations are texts: %q", word)
	}
	return "numbers have no units, and texts stand in quotes"
}

// unclosed returns the offset of the quote that no other closes, -1 if there is none.
func unclosed(source string) int {
	open := -1
	for i := 0; i < len(source); i++ {
		switch c := source[i]; {
		case open < 0 && (c == '"' || c == '\'' || c == '`'):
			open = i
		case open < 0:
		case c == '\\' && source[open] != '`':
			i++
		case c == source[open]:
			open = -1
		}
	}
	return open
}

// literalError turns the error of a number that is out of range into ours; nil
// if it is another error.
func literalError(source string, at *file.Error) *Error {
	if !strings.HasPrefix(at.Message, "invalid float literal") && !strings.HasPrefix(at.Message, "invalid integer literal") &&
		!strings.HasPrefix(at.Message, "invalid hex literal") && !strings.HasPrefix(at.Message, "invalid binary literal") && !strings.HasPrefix(at.Message, "invalid octal literal") {
		return nil
	}
	_, rest, _ := strings.Cut(at.Message, `parsing "`)
	number, why, _ := strings.Cut(rest, `": `)
	e := &Error{Offset: byteOffset(source, at.From), Msg: fmt.Sprintf("%q is no number", number), Hint: "write digits, with a point or an exponent: 0.5, 1e6"}
	if i := strings.Index(source, number); i >= 0 { // expr's place is behind it
		e.Offset = i
	}
	if strings.HasPrefix(why, "value out of range") {
		e.Msg, e.Hint = number+" is too large for a number", "the largest is about 1.8e308"
		if !strings.Contains(at.Message, "float") {
			e.Msg, e.Hint = number+" is too large for a whole number", "write it with a point or an exponent, e.g. 1e20"
		}
	}
	return e
}
