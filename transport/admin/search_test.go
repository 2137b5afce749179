package admin

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

func TestSearch(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 10, 0, 0, 0, time.UTC).UnixNano()
	for text, want := range map[string]string{
		"":                                "",
		"ssh":                             "text [ssh]",
		`ssh -"two words" "a \"b\" \\"`:   `text [ssh a "b" \] not [two words]`,
		"192.0.2.7":                       "covers [192.0.2.7/32]",
		"-192.0.2.0/24 2001:db8::/32 ::1": "covers [::1/128] inside [2001:db8::/32] not inside [192.0.2.0/24]",
		`"192.0.2.7"`:                     "text [192.0.2.7]",
		"ip:2001:db8::1 range:192.0.2.7":  "covers [2001:db8::1/128] inside [192.0.2.7/32]",
		"-ip:192.0.2.0/24":                "not covers [192.0.2.0/24]",
		"origin:cscli Origin:crowdsec -origin:lists:x": "origin {[cscli crowdsec] [lists:x]}",
		`scope:ip country:"" as:"Example Net"`:         "scope {[Ip] []} country one that is empty as {[Example Net] []}",
		"machine:web* type:ban -scenario:*ssh*":        "type {[ban] []} scenario {[] [*ssh*]} machine {[web*] []}",
		"value:root -alert:7 alert:8":                  "value {[root] []} alerts [8] not [7]",
		"since:4h <2026-11-30T09:00:00Z":               "since -4h until -1h",
		">1d until:2026-11-30":                         "since -24h until -10h",
		"since:>4h since:2h":                           "since -2h",
		"simulated:no state:ended community:no":        "origin {[] [CAPI lists lists:*]} simulation 1 standing 2 local",
		"simulated:yes community:no community:yes":     "simulation 2",
	} {
		f := &engine.Filter{}
		if err := ParseSearch(f, text, now); err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := spellFilter(f, now); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	for text, at := range map[string]int{
		"ssh color:red": 4, `a "b`: 2, `origin:"b`: 0, "ip:x": 0, "x range:y": 2, "alert:0": 0, "alert:x": 0, "since:soon": 0, "  -since:4h": 2, "simulated:maybe": 0,
		"state:odd": 0, "origin:": 0, "-": 0, "a - b": 2, ">": 0, "->4h": 0, `""`: 0, "http://x": 0, "community:": 0, ">x": 0,
		strings.Repeat("a ", engine.MostWords+1): 2 * engine.MostWords, strings.Repeat("type:a ", mostTerms+1): 7 * mostTerms, strings.Repeat("a", longestSearch+1): longestSearch,
	} {
		err := ParseSearch(&engine.Filter{}, text, now)
		if wrong := (*SearchError)(nil); !errors.As(err, &wrong) || wrong.At != at || !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("%.50s: %v, want a fault at %d", text, err, at)
		}
	}
}

// spellFilter spells what is given.
func spellFilter(f *engine.Filter, now int64) string {
	var b strings.Builder
	say := func(name string, value any) {
		if c, ok := value.(engine.Choice); ok && len(c.Any) == 1 && c.Any[0] == "" {
			value = "one that is empty"
		}
		if s := fmt.Sprint(value); s != "[]" && s != "{[] []}" && s != "0" {
			fmt.Fprintf(&b, " %s %s", name, s)
		}
	}
	for field, c := range f.Words {
		say(engine.Field(field).String(), c)
	}
	say("value", f.Value)
	say("covers", f.Covers)
	say("inside", f.Inside)
	say("not covers", f.NotCovers)
	say("not inside", f.NotInside)
	say("alerts", f.Alerts)
	say("not", f.NotAlerts)
	if f.Since != 0 {
		fmt.Fprintf(&b, " since -%.0fh", time.Duration(now-f.Since).Hours())
	}
	if f.Until != 0 {
		fmt.Fprintf(&b, " until -%.0fh", time.Duration(now-f.Until).Hours())
	}
	say("text", f.Text)
	say("not", f.NotText)
	say("simulation", f.Simulation)
	say("standing", f.Standing)
	if f.HideCommunity {
		b.WriteString(" local")
	}
	return strings.TrimPrefix(b.String(), " ")
}

// A search never panics and asks for no more than is let in, whatever is written.
func FuzzSearch(f *testing.F) {
	for _, text := range []string{`ssh -origin:CAPI since:4h "a b"`, `ip:192.0.2.7 -range:2001:db8::/32 <4h`, `"\`, "-", ":", `a:"b"c`, "since:>"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		filter := &engine.Filter{}
		err := ParseSearch(filter, text, 1)
		if wrong := (*SearchError)(nil); err != nil && (!errors.As(err, &wrong) || wrong.At > len(text)) {
			t.Errorf("%q: %v", text, err)
		}
		if len(filter.Text)+len(filter.NotText) > engine.MostWords {
			t.Errorf("%q: %d words", text, len(filter.Text))
		}
	})
}
