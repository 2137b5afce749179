package transport

import (
	"log/slog"
	"strings"
	"testing"
)

// TestDeletionsAreTold: who deleted what by the API is in the log, and no machine
// fills it.
func TestDeletionsAreTold(t *testing.T) {
	t.Parallel()
	bothWays(t, testDeletionsAreTold)
}

func testDeletionsAreTold(t *wireTest) {
	t.Parallel()
	var log lockedBuffer
	h := newHouse(t, func(b *build) { b.server.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	h.ban("192.0.2.1", "192.0.2.2")
	h.asMachine("DELETE", "/v1/decisions?ip=192.0.2.1", "")
	h.asMachine("DELETE", "/v1/decisions?ip=192.0.2.77", "")
	h.asMachine("DELETE", "/v1/alerts?scenario=test%2Fscenario", "")
	for _, want := range []string{
		`msg="a machine deleted decisions" machine=a-machine address=127.0.0.1 decisions=1 request="/v1/decisions?ip=192.0.2.1"`,
		`msg="a machine deleted alerts" machine=a-machine address=127.0.0.1 alerts=1 request="/v1/alerts?scenario=test%2Fscenario"`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no line %s in\n%s", want, log.String())
		}
	}
	if strings.Contains(log.String(), "192.0.2.77") {
		t.Error("what deleted nothing has a line")
	}

	var c deletions
	told := 0
	for range 1000 {
		if c.may(7, 3) {
			told++
		}
	}
	for range 100 { // requests of the second before begin none
		if c.may(6, 3) || c.may(7, 3) {
			told++
		}
	}
	if told != deletionsAtMost {
		t.Errorf("%d lines in a second", told)
	}
	if n, _ := c.missed(7); n != 0 {
		t.Error("the second is not over")
	}
	if n, deleted := c.missed(8); n != 1200-deletionsAtMost || deleted != 3*n || !c.may(8, 1) {
		t.Errorf("%d, %d", n, deleted)
	}
	if n, _ := c.missed(9); n != 0 {
		t.Error("told twice")
	}
}
