package influxdb

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"

	"weir/ingest/event"
	"weir/sinks/exchange"
)

// droppedCount ends what is said of a partial write. It counts points of the
// request, which is nothing to a single message.
var droppedCount = regexp.MustCompile(` dropped=\d+( for database: .*)?$`)

// newAnswer takes apart what the server said. The forms:
//
//	1.8  {"error":"partial write: field type conflict: input field \"t\" on measurement \"m\" is type string, already exists as type float dropped=1"}
//	2.x  {"code":"invalid","message":"unable to parse 'm t=': missing field value"}
//	3.x  {"error":"partial write of line protocol occurred","data":[{"error_message":"...","line_number":2,"original_line":"..."}]}
func newAnswer(resp *http.Response, body []byte) *answer {
	a := &answer{
		status: resp.StatusCode, body: body,
		version: strings.TrimPrefix(resp.Header.Get("X-Influxdb-Version"), "v"),
		influx:  resp.Header.Get("X-Influxdb-Version") != "" || resp.Header.Get("X-Influxdb-Error") != "" || resp.Header.Get("X-Influxdb-Build") != "",
	}
	var form struct {
		Error   string `json:"error"`
		Message string `json:"message"`
		Code    string `json:"code"`
		Data    []struct {
			Error string `json:"error_message"`
		} `json:"data"`
	}
	if json.Unmarshal(body, &form) == nil && form.Error+form.Message+form.Code != "" {
		a.influx = true
		a.text = droppedCount.ReplaceAllString(strings.TrimSpace(form.Message+form.Error), "")
		if len(form.Data) > 0 && form.Data[0].Error != "" {
			a.text += ": " + form.Data[0].Error
		}
		if a.text == "" {
			a.text = form.Code
		}
		return a
	}
	a.text = string(bytes.TrimSpace(body))
	if a.text == "" {
		a.text = resp.Header.Get("X-Influxdb-Error")
	}
	return a
}

// name is a field of a measurement.
type name struct{ measurement, field string }

// conflict is a field that the server knows as another type.
type conflict struct {
	name
	exists event.Kind
}

// The names are written without escapes, and the message with %s: a name may
// hold quotes itself, so the words around it decide.
var conflictText = regexp.MustCompile(`(?s)input field "(.*?)" on measurement "(.*?)" is type (\w+), already exists as type (\w+)`)

// conflict returns the conflict that the answer tells of, and whether it does.
// A server names one, even if there are more.
func (a *answer) conflict() (conflict, bool) {
	m := conflictText.FindStringSubmatch(a.text)
	if m == nil {
		return conflict{}, false
	}
	k, ok := kindNamed(m[4])
	return conflict{name{m[2], m[1]}, k}, ok
}

func (a *answer) tooLarge() bool { return a.status == http.StatusRequestEntityTooLarge }

// beyondRetention reports whether points were refused for being too old, and for
// nothing else: newer versions also know points that are too new.
func (a *answer) beyondRetention() bool {
	if strings.Contains(a.text, "outside retention policy") {
		return strings.Contains(a.text, "Retention Policy Lower Bound") &&
			!strings.Contains(a.text, "Upper Bound") && !strings.Contains(a.text, "Write Window")
	}
	return strings.Contains(a.text, "beyond retention policy")
}

// partial reports whether some lines were written and some were not. Early 2.x
// give such an answer the status 500.
func (a *answer) partial() bool { return a.influx && strings.Contains(a.text, "partial write: ") }

// knowsNoUnsigned reports whether a refused "7u" may be the reason: a 1.x takes it
// for a malformed number. Not every build of it says its version.
func (a *answer) knowsNoUnsigned() bool {
	if strings.HasPrefix(a.version, "2.") || strings.HasPrefix(a.version, "3.") {
		return false
	}
	return strings.Contains(a.text, "invalid number")
}

// cause is the server's words for a dead letter.
func (a *answer) cause() string {
	text := a.text
	if text == "" {
		text = http.StatusText(a.status)
	}
	return exchange.Clip(strings.TrimPrefix(text, "partial write: "), 500)
}

// operatorFault reports whether a 400 is not about lines but about where they
// are sent: all the data would be refused, so none must be dead-lettered.
func (a *answer) operatorFault() bool {
	if !a.influx {
		return true
	}
	return strings.HasPrefix(a.text, "database is required") || strings.Contains(a.text, "provide either orgID or org")
}

// unparsable calls found with each line that the answer quotes as one that can't
// be parsed, and with the reason: unable to parse '<line>': <reason>.
func (a *answer) unparsable(found func(line, reason string)) {
	const lead, mid = "unable to parse '", "': "
	text := a.text
	for {
		i := strings.Index(text, lead)
		if i < 0 {
			return
		}
		text = text[i+len(lead):]
		// The line may hold the words that end it, so the last end before
		// the next message counts.
		next := strings.Index(text, "\n"+lead)
		if next < 0 {
			next = len(text)
		}
		if j := strings.LastIndex(text[:next], mid); j >= 0 {
			found(text[:j], text[j+len(mid):next])
		}
		text = text[next:]
	}
}
