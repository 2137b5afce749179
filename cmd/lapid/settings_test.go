package main

import (
	"bytes"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/verbs"
)

// TestEverySettingIsTold: help has a line for each setting of lapid.yaml, with its variable where it has one, and
// names none that there is not.
func TestEverySettingIsTold(t *testing.T) {
	t.Parallel()
	help := rootCommand(&verbs.Terminal{}).Long
	named := map[string]bool{"LAPID_CONSOLE_LISTEN": true, "LAPID_CLUSTER_": true, "LAPID_RELAY_": true}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[config.Settings]()) {
		key := f.Tag.Get("yaml")
		within := "(in lapid.yaml alone)"
		switch f.Type.Kind() {
		case reflect.Struct, reflect.Slice:
		default:
			within = "LAPID_" + strings.ToUpper(key)
			named[within] = true
		}
		if key == "console" { // one of its keys has a variable
			key, within = "console.listen", "LAPID_CONSOLE_LISTEN"
		}
		if !regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(key) + ` +` + regexp.QuoteMeta(within) + ` +\S`).MatchString(help) {
			t.Errorf("help has no line %s with %s", key, within)
		}
	}
	for _, name := range regexp.MustCompile(`LAPID_[A-Z0-9_]+`).FindAllString(help, -1) {
		if !named[name] {
			t.Errorf("help names %s, and there is no such variable", name)
		}
	}
}

// TestEveryVerbIsHinted: whoever slips in the name of a verb is told which it is.
func TestEveryVerbIsHinted(t *testing.T) {
	t.Parallel()
	root := rootCommand(&verbs.Terminal{})
	for _, c := range root.Commands() {
		if !c.IsAvailableCommand() {
			continue
		}
		var errs bytes.Buffer
		slip := c.Name() + c.Name()[len(c.Name())-1:]
		exit := run(t.Context(), &verbs.Terminal{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &errs, Env: nothing}, []string{slip})
		if want := `did you mean "` + c.Name() + `"?`; exit != exitUsage && exit != exitFails || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: exit %d, %s", slip, exit, errs.String())
		}
	}
}
