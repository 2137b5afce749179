package config

import (
	"testing"
)

// TestYAMLScalars: what is written can be read back as the same text.
func TestYAMLScalars(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "a", "true", "No", "1", "1.5", "1e3", "0x1f", ".inf", "~", "null", "192.0.2.1", "a: b", "a #b", "- a", "[x]",
		"{x}", "'q'", `"q"`, "a\nb", "\t", "ends:", " blank", "blank ", "2026-11-22T01:03:41Z", "2026-11-22", "12:30", "*a", "&a", "!a", "%a", "@a",
		"`a", "é", "a'b", "#x", "?", ":", "-", "1_000", "0o17", "| x", "> x", "\x7f", "\u2028"} {
		trees, err := parseTrees("x", "k: "+Scalar(text)+"\n", nil)
		if err != nil {
			t.Errorf("%q as %s: %v", text, Scalar(text), err)
			continue
		}
		if got := trees[0].get("k"); got.kind != isScalar || got.text != text {
			t.Errorf("%q as %s is read back as %v %q", text, Scalar(text), got.kind, got.text)
		}
	}
}
