package audit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/transport/audit"
)

// hostile is what a stranger may call himself.
const hostile = "a|b=c\\d\nCEF:0|evil|evil|1|x|x|10|\r\t\x1b[31m\u202e"

// A line of CEF is one line, its header has seven bars, and reads back to what was written.
func TestCEFHoldsWhatStrangersWrite(t *testing.T) {
	t.Parallel()
	r := &engine.AuditRow{Number: 7, At: 1_796_007_924_166_000_000, Revision: 3, By: engine.Actor{Kind: engine.ActorStranger, Name: hostile},
		Address: "192.0.2.7 act=evil", Action: "machine.login|x", Target: hostile, Before: `{"a":"=|"}`, Outcome: "refused: " + hostile}
	line := string(audit.AppendCEF(nil, r, "1|2"))
	if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
		t.Fatalf("not one line: %q", line)
	}
	header, rest := cefFields(line)
	if len(header) != 7 || header[0] != "CEF:0" || header[3] != "1|2" || header[4] != "machine.login|x" {
		t.Errorf("header: %q", header)
	}
	if want := `a|b=c\d\nCEF:0|evil|evil|1|x|x|10|\r\t\x1b[31m\u202e`; rest["suser"] != want || rest["cs2"] != want || rest["src"] != "192.0.2.7 act=evil" || rest["act"] != "machine.login|x" {
		t.Errorf("fields: %q", rest)
	}
	for _, c := range line[:len(line)-1] {
		if c < ' ' || c == 0x202e {
			t.Errorf("%q is in the line", c)
		}
	}
	b, err := audit.AppendNDJSON(nil, r)
	var back audit.Object
	if err != nil || strings.Count(string(b), "\n") != 1 || json.Unmarshal(b, &back) != nil || back.Actor != hostile {
		t.Errorf("JSON: %q, %v", b, err)
	}
}

// cefFields reads a line as the format's readers do.
func cefFields(line string) (header []string, fields map[string]string) {
	line = strings.TrimSuffix(line, "\n")
	var part strings.Builder
	i := 0
	for ; i < len(line) && len(header) < 7; i++ {
		switch {
		case line[i] == '\\':
			i++
			part.WriteByte(line[i])
		case line[i] == '|':
			header = append(header, part.String())
			part.Reset()
		default:
			part.WriteByte(line[i])
		}
	}
	fields = map[string]string{}
	key, text := "", ""
	for ; i <= len(line); i++ {
		switch {
		case i == len(line):
			fields[key] = text
		case line[i] == '\\':
			i++
			text += line[i : i+1]
		case line[i] == '=':
			before, next := "", text
			if at := strings.LastIndexByte(text, ' '); at >= 0 {
				before, next = text[:at], text[at+1:]
			}
			if key != "" {
				fields[key] = before
			}
			key, text = next, ""
		default:
			text += line[i : i+1]
		}
	}
	return header, fields
}

// Strangers make so many rows a minute and no more, and each of their tries is counted.
func TestStrangersAreCountedWithinBounds(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.Audit = &engine.AuditOptions{} })
	a := audit.New(&audit.Options{Engine: r.Engine})
	const tries = 20_000
	for i := range tries {
		a.Note(audit.Note{At: r.Now().UnixNano(), By: engine.Actor{Kind: engine.ActorStranger, Name: fmt.Sprint("name-", i)}, Address: "192.0.2.7",
			Action: "machine.login", Outcome: fmt.Sprint("refused: ", i%100)})
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { a.Run(ctx); close(ended) }()
	cancel()
	<-ended
	rows, times := 0, 0
	if err := r.Trail().Each(context.Background(), &engine.AuditQuery{}, func(row *engine.AuditRow) bool {
		var after struct{ Times int }
		if err := json.Unmarshal([]byte(row.After), &after); err != nil {
			t.Errorf("%s: %v", row.After, err)
		}
		rows, times = rows+1, times+after.Times
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if times != tries || rows > 600 {
		t.Errorf("%d tries in %d rows, and %d were made", times, rows, tries)
	}
}

// The auditor writes what is committed without being asked.
func TestAuditorFollows(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.Audit = &engine.AuditOptions{} })
	a := audit.New(&audit.Options{Engine: r.Engine})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { a.Run(ctx); close(ended) }()
	by := engine.As(context.Background(), engine.Actor{Kind: engine.ActorOperator, Name: "root"})
	if err := r.CreateAllowlist(by, "office", "", r.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	told := false
	for deadline := time.Now().Add(time.Minute); !told && time.Now().Before(deadline); {
		changed := r.Changed()
		if err := r.Trail().Each(ctx, &engine.AuditQuery{Action: "allowlist.create"}, func(*engine.AuditRow) bool { told = true; return true }); err != nil {
			t.Fatal(err)
		}
		if !told {
			select {
			case <-changed:
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	if cancel(); !told {
		t.Error("nothing is told")
	}
	<-ended
}
