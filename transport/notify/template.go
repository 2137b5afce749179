package notify

import (
	"errors"
	"html"
	"os"
	"strings"
	"text/template"
	"time"

	"github.com/Masterminds/sprig/v3"
)

// longestText bounds what a template may make, in bytes. A message that would be longer is
// given up: no receiver takes one.
const longestText = 16 << 20

// compile reads a template. Its dot is a list of alerts.
func compile(format string) (*template.Template, error) {
	all := sprig.TxtFuncMap()
	t, err := template.New("format").Funcs(all).Funcs(bounds(all)).Funcs(template.FuncMap{
		"GetMeta":     eventMeta,
		"CrowdsecCTI": func(string) (any, error) { return nil, errors.New("no reputation service is asked here") },
		"Hostname":    os.Hostname,
		"HTMLEscape":  html.EscapeString,
		stepName:      (&turns{}).step,
	}).Parse(format)
	if err != nil {
		return nil, err
	}
	return t, counted(t)
}

// CheckFormat refuses a template that cannot be read. The error begins with
// "template: format:" and the line.
func CheckFormat(format string) error {
	_, err := compile(format)
	return err
}

// eventMeta are the values of a key in each of an alert's events that has it.
func eventMeta(a *Alert, key string) []string {
	var values []string
	for _, e := range a.Events {
		for _, m := range e.Meta {
			if m.Key == key {
				values = append(values, m.Value)
				break
			}
		}
	}
	return values
}

// render puts alerts into words.
func render(t *template.Template, alerts []*Alert) (string, error) {
	var w boundedText
	t, err := t.Clone() // counts for itself
	if err != nil {
		return "", err
	}
	bound := &turns{until: time.Now().Add(mostTime)}
	err = t.Funcs(template.FuncMap{stepName: bound.step}).Execute(&w, alerts)
	return w.String(), err
}

// boundedText collects text up to longestText.
type boundedText struct{ strings.Builder }

// Write takes text, or ends the template.
func (w *boundedText) Write(b []byte) (int, error) {
	if w.Len()+len(b) > longestText {
		return 0, errors.New("the text is longer than 16 MiB")
	}
	return w.Builder.Write(b)
}
