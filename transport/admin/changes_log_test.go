package admin

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// sharedLog is a log that may be read while it is written, without the times.
type sharedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *sharedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *sharedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestChangesAreLogged: each change of an operator's has one line, with the user and
// without secrets.
func TestChangesAreLogged(t *testing.T) {
	t.Parallel()
	log := &sharedLog{}
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	e, path := newEngine(t, nil), filepath.Join(t.TempDir(), "admin.sock")
	s, err := Listen(path, NewHandler(e, "test", logger), quiet)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	c, err := Dial(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	chunk := func(source string, first, n int) (*Imported, error) {
		var items []Item
		for i := range n {
			items = append(items, Item{Value: fmt.Sprintf("10.0.%d.%d", first, i)})
		}
		return c.importOne(ctx, &ImportHead{Source: source, Scope: "ip", Type: "ban", Duration: "4h", Reason: "r"}, items)
	}
	must(0, c.AddMachine(ctx, &NewMachine{ID: "m", PasswordHash: []byte("secret-hash")}))
	must(0, c.AddBouncer(ctx, &NewBouncer{Name: "b FAKE=1", KeyHash: bytes.Repeat([]byte("secret"), 11)[:64]}))
	must(0, failureIn(c.CreateAllowlist(ctx, &NewAllowlist{Name: "office"})))
	must(c.AddToAllowlist(ctx, &AllowlistAddition{Name: "office", Items: []NewAllowlistItem{{Value: "192.0.2.1"}, {Value: "192.0.2.2"}}}))
	must(c.RemoveFromAllowlist(ctx, &AllowlistRemoval{Name: "office", Values: []string{"192.0.2.1"}}))
	must(0, second(c.AddDecision(ctx, &NewDecision{Scope: "ip", Value: "192.0.2.9", Type: "ban", Duration: "4h", Reason: "why"})))
	for i := range 3 {
		must(chunk("list.csv", i, 100))
	}
	must(chunk("other.csv", 3, 50))
	must(c.DeleteDecisions(ctx, &DecisionFilter{Address: "192.0.2.9"}))
	must(c.DeleteDecisions(ctx, &DecisionFilter{Address: "192.0.2.9", Dry: true}))
	must(c.DeleteDecisions(ctx, &DecisionFilter{Address: "192.0.2.250"})) // finds nothing: no line
	must(c.DeleteAlerts(ctx, &AlertDeletion{}))
	must(c.DeleteBouncer(ctx, "b FAKE=1"))
	must(0, c.DeleteMachine(ctx, "m"))
	must(0, failureIn(c.DeleteAllowlist(ctx, &AllowlistDeletion{Name: "office"})))
	must(chunk("last.csv", 4, 7))
	c.Close()
	who := fmt.Sprintf("uid=%d", os.Getuid())
	deadline := time.After(time.Minute)
	for !strings.Contains(log.String(), "last.csv") {
		select {
		case <-deadline:
			t.Fatalf("an import has no line:\n%s", log)
		case <-time.After(time.Millisecond):
		}
	}
	got := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
	want := []string{
		`msg="operator: added a machine" machine=m replaces=false`,
		`msg="operator: added a bouncer" bouncer="b FAKE=1"`,
		`msg="operator: created an allowlist" allowlist=office`,
		`msg="operator: added to an allowlist" allowlist=office values=2 first="192.0.2.1, 192.0.2.2" decisions_ended=0`,
		`msg="operator: removed from an allowlist" allowlist=office values=1 asked=192.0.2.1`,
		`msg="operator: added a decision" decision="4h ban on Ip 192.0.2.9" reason=why`,
		`msg="operator: imported decisions" source=list.csv decisions=100 alerts=1 allowlisted=0`,
		`msg="operator: imported decisions" source=list.csv decisions=100 alerts=1 allowlisted=0`,
		`msg="operator: imported decisions" source=list.csv decisions=100 alerts=1 allowlisted=0`,
		`msg="operator: imported decisions" source=other.csv decisions=50 alerts=1 allowlisted=0`,
		`msg="operator: deleted decisions" decisions=1 asked="address=192.0.2.9" first="ban on Ip 192.0.2.9"`,
		`msg="operator: deleted alerts" alerts=5 asked=all`,
		`msg="operator: deleted a bouncer" bouncer="b FAKE=1" rows=1`,
		`msg="operator: deleted a machine" machine=m`,
		`msg="operator: deleted an allowlist" allowlist=office`,
		`msg="operator: imported decisions" source=last.csv decisions=7 alerts=1 allowlisted=0`,
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !strings.HasPrefix(got[i], "level=INFO "+want[i]) || !strings.HasSuffix(got[i], who) {
			t.Errorf("line %d of %d, %d wanted:\n%s", i, len(got), len(want), log)
			break
		}
	}
	if strings.Contains(log.String(), "secret") {
		t.Error("a secret is told")
	}
}
