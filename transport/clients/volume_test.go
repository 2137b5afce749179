//go:build clients

package clients

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestLogProcessorsAtVolume: two stock log processors report 1 000 attackers between them while a custom
// bouncer polls five times a second; its hook is called once for each attacker, and for nobody else.
func TestLogProcessorsAtVolume(t *testing.T) {
	t.Parallel()
	const each = 500
	s := newServer(t)
	second := filepath.Join(s.dir, "credentials-2.yaml")
	s.addMachine(t, "edge-2", second)
	s.start(t)
	bouncer := startCustomBouncer(t, s, "api_key: "+bouncerKey)
	processors := []*logProcessor{startLogProcessor(t, s.credentials()), startLogProcessor(t, second)}

	want := map[string]bool{}
	for i, lp := range processors {
		attackers := make([]string, each)
		for n := range attackers {
			attackers[n] = fmt.Sprintf("198.18.%d.%d", 2*i+n/250, 1+n%250)
			want[attackers[n]] = true
		}
		lp.attack(t, attackers...)
	}

	got := map[string]int{}
	await(t, "the hook hears of 1 000 attackers", func() (bool, string) {
		clear(got)
		for _, call := range bouncer.called(t) {
			if value, ok := strings.CutPrefix(call, "add "); ok {
				value, _, _ = strings.Cut(value, " ")
				got[value]++
			} else {
				t.Fatalf("the hook was called with %q", call)
			}
		}
		return len(got) >= len(want), fmt.Sprintf("%d attackers", len(got))
	})
	for value, times := range got {
		if !want[value] || times != 1 {
			t.Errorf("the hook heard of %q %d times; among the attackers: %v", value, times, want[value])
		}
	}

	// A log processor sends a batch again when it was refused. The reference refuses one now and then
	// ("database is locked") and then holds more than was seen; here nothing may be refused.
	c := newCscli(t, s, s.credentials())
	all := alertsOf(t, c.expect(t, 0, nil, "alerts", "list", "-o", "json", "--limit", "0"))
	by := map[string]int{}
	for _, a := range all {
		by[a.Machine]++
	}
	if len(all) != 2*each || by[machineName] != each || by["edge-2"] != each {
		t.Errorf("%d alerts are held, by machine %v; want %d from each of two", len(all), by, each)
	}
}
