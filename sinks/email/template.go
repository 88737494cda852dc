package email

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"text/template"
	"time"
	"unicode"

	"weir/ingest/event"
)

const defaultSubject = `[{{ .State }}{{ with .Notice }}, {{ . }}{{ end }}] {{ .Name }}{{ with .Key }} {{ . }}{{ end }}{{ with .Summary }}: {{ . }}{{ end }}`

const defaultBody = `{{ .Name }} is {{ .State }}{{ with .Notice }} ({{ . }}){{ end }}.
{{ with .Summary }}
{{ . }}
{{ end }}
rule: {{ .Rule }}
{{ if .By }}{{ range $k, $v := .By }}{{ $k }}: {{ $v }}
{{ end }}{{ else if .Device }}device: {{ .Device }}
{{ else if .Key }}key: {{ .Key }}
{{ end }}{{ with .Value }}value: {{ . }}
{{ end }}started: {{ .StartsAt.Format "2006-01-02 15:04:05 MST" }}
{{ if not .EndsAt.IsZero }}ended: {{ .EndsAt.Format "2006-01-02 15:04:05 MST" }}, after {{ .Duration }}
{{ end }}{{ if .Labels }}labels:{{ range $k, $v := .Labels }} {{ $k }}={{ $v }}{{ end }}
{{ end }}{{ range $k, $v := .Annotations }}{{ if ne $k "summary" }}{{ $k }}: {{ $v }}
{{ end }}{{ end }}incident: {{ .ID }}
`

// Facts are what templates know of an alert. Texts have no control characters,
// but for the line breaks of annotations.
type Facts struct {
	State, Notice           string // firing or resolved; "", repeat, escalation or resumed
	Rule, Group, Name       string // Rule is Group/Name
	Key, Device             string
	By, Labels, Annotations map[string]string
	Summary                 string // the annotation of that name
	Value                   string
	StartsAt, EndsAt        time.Time // UTC; EndsAt is zero while it fires
	Duration                time.Duration
	ID                      string // of the incident
}

func factsOf(a *event.Alert) Facts {
	f := Facts{
		State: line(a.State), Notice: line(a.Notice), Rule: line(a.Rule), Key: line(a.Key), Device: line(a.Device),
		By: lines(a.By, line), Labels: lines(a.Labels, line), Annotations: lines(a.Annotations, paragraph),
		StartsAt: a.StartsAt.UTC(), Value: line(valueText(a.Value)), ID: line(a.ID),
	}
	f.Summary = f.Annotations["summary"]
	var both bool
	if f.Group, f.Name, both = strings.Cut(f.Rule, "/"); !both {
		f.Group, f.Name = "", f.Rule
	}
	if a.EndsAt != nil {
		f.EndsAt = a.EndsAt.UTC()
		f.Duration = a.EndsAt.Sub(a.StartsAt).Round(time.Second)
	}
	return f
}

func valueText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}

func lines(m map[string]string, clean func(string) string) map[string]string {
	out := maps.Clone(m)
	for k, v := range m {
		delete(out, k)
		out[line(k)] = clean(v)
	}
	return out
}

// line returns s as one line that draws nothing.
func line(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && r != ' ' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// paragraph returns s with its line breaks and no other control characters.
func paragraph(s string) string {
	parts := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i, p := range parts {
		parts[i] = line(p)
	}
	return strings.Join(parts, "\n")
}

// templates make the texts of mails.
type templates struct{ subject, body *template.Template }

// parseTemplates also tries the templates on an alert, so that a name that there
// is not is found before the first mail.
func parseTemplates(subject, body string) (templates, error) {
	if subject == "" {
		subject = defaultSubject
	}
	if body == "" {
		body = defaultBody
	}
	var t templates
	var err error
	if t.subject, err = template.New("subject").Option("missingkey=zero").Parse(subject); err != nil {
		return t, fmt.Errorf("subject: %w", err)
	}
	if t.body, err = template.New("body").Option("missingkey=zero").Parse(body); err != nil {
		return t, fmt.Errorf("body: %w", err)
	}
	at := time.Unix(0, 0)
	sample := factsOf(&event.Alert{ID: "id", State: event.Resolved, Rule: "group/Name", Key: "key", Device: "device", StartsAt: at, EndsAt: &at, Value: 1.5})
	if _, _, err := t.render(sample); err != nil {
		return t, err
	}
	return t, nil
}

// maxSubject is how many characters of a subject are mailed.
const maxSubject = 250

func (t templates) render(f Facts) (subject, body string, err error) {
	var s, b strings.Builder
	if err := t.subject.Execute(&s, f); err != nil {
		return "", "", fmt.Errorf("subject: %w", err)
	}
	if err := t.body.Execute(&b, f); err != nil {
		return "", "", fmt.Errorf("body: %w", err)
	}
	subject = strings.Join(strings.Fields(line(s.String())), " ")
	subject = strings.ReplaceAll(subject, "=?", "= ?") // what looks like an encoded word is none
	if r := []rune(subject); len(r) > maxSubject {
		subject = string(r[:maxSubject-3]) + "..."
	}
	return subject, b.String(), nil
}
