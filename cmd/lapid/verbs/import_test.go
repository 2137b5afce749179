package verbs

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/inputs"
)

// TestEarlyEnd: what is said of an import that ended early agrees with itself.
func TestEarlyEnd(t *testing.T) {
	t.Parallel()
	full, unsure := &engine.Error{Kind: engine.ErrDisk, Text: "the disk is full"}, &engine.Error{Kind: engine.ErrUnsure, Text: "who knows"}
	for _, c := range []struct {
		alerts []uint64
		cause  error
		want   string
	}{
		{nil, full, "API error: the disk is full: none of 30 decisions was stored"},
		{[]uint64{41, 42, 43, 45}, full, `API error: the disk is full: 20 of 30 decisions are stored, as alerts 41-43,45; "lapid -c F alerts delete --id 41-43,45" takes them back`},
		{[]uint64{7}, errors.New("broken pipe"), `broken pipe: 20 of 30 decisions at least are stored, as the batch b 1; "lapid -c F decisions delete --batch-name 'b 1'" takes all of it back`},
		{[]uint64{7}, unsure, `API error: who knows: 20 of 30 decisions at least are stored, as the batch b 1; "lapid -c F decisions delete --batch-name 'b 1'" takes all of it back`},
		{nil, unsure, `API error: who knows: "lapid -c F decisions list --batch-name 'b 1'" shows what is stored of 30 decisions, and "lapid -c F decisions delete --batch-name 'b 1'" takes it back`},
		{[]uint64{7}, ErrInterrupted, `interrupted: 20 of 30 decisions are stored, as alerts 7; "lapid -c F alerts delete --id 7" takes them back`},
	} {
		i := importing{alerts: c.alerts, stored: 20, head: admin.ImportHead{Batch: "b 1"}}
		err := i.endedEarly(c.cause, 30, "lapid -c F")
		if err.Error() != c.want || !errors.Is(err, c.cause) {
			t.Errorf("%v\nwant %s", err, c.want)
		}
	}
	file := write(t, t.TempDir(), "config.yaml", "config_paths: {data_dir: /x}\n")
	term := &Terminal{File: file, Env: func(string) (string, bool) { return "", false }}
	early := (&importing{alerts: []uint64{1}}).endedEarly(full, 3, "lapid")
	if text := term.Advice(early); !strings.HasPrefix(text, "Make room in ") {
		t.Error(text)
	}
	if text := term.Advice(full); !strings.HasPrefix(text, "Nothing was stored. Make room in ") {
		t.Error(text)
	}
}

func TestRanges(t *testing.T) {
	t.Parallel()
	for text, ids := range map[string][]uint64{"1": {1}, "1-3": {1, 2, 3}, "1,3": {1, 3}, "1-2,4,6-8": {1, 2, 4, 6, 7, 8}} {
		if got := ranges(ids); got != text {
			t.Errorf("%v: %s", ids, got)
		}
		if got, err := parseRanges(text); err != nil || !slices.Equal(got, ids) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "x", "3-1", "1-", "-1", "1,,2", "1-9999999", "0-5"} {
		if got, err := parseRanges(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// TestBriefEntries: whatever flags and entries say, an entry without the words that it has
// in common with the first means what it meant.
func TestBriefEntries(t *testing.T) {
	t.Parallel()
	words := []string{"", "a", "b"}
	for _, flag := range words {
		for _, first := range words {
			for _, own := range words {
				i := importing{head: admin.ImportHead{Duration: flag, Reason: flag, Scope: flag, Type: flag}}
				i.first = i.whole(&inputs.Entry{Item: admin.Item{Duration: first, Reason: first, Scope: first, Type: first, Value: "v"}})
				e := &inputs.Entry{Item: admin.Item{Duration: own, Reason: own, Scope: own, Type: own, Value: "v", Again: true}}
				common := i.common()
				got := importing{head: admin.ImportHead{Duration: common.Duration, Reason: common.Reason, Scope: common.Scope, Type: common.Type}}
				if got, want := got.whole(&inputs.Entry{Item: i.brief(e, &common)}), i.whole(e); got != want {
					t.Errorf("flag %q, first %q, entry %q: %+v, want %+v", flag, first, own, got, want)
				}
			}
		}
	}
}
