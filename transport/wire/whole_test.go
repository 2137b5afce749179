package wire

import "lapid/engine"

// keepAll is the flush of a caller that wants all of an answer at once.
func keepAll(dst []byte) ([]byte, error) { return dst, nil }

func appendAlert(dst []byte, a *engine.Alert, ds []engine.Decision, withDecisions bool, now int64) []byte {
	dst, _ = WriteAlert(dst, a, ds, withDecisions, now, keepAll)
	return dst
}

func appendAllowlist(dst []byte, l *engine.Allowlist, withContent bool, now int64) []byte {
	dst, _ = WriteAllowlist(dst, l, withContent, now, keepAll)
	return dst
}

func appendAllowlists(dst []byte, ls []*engine.Allowlist, withContent bool, now int64) []byte {
	dst, _ = WriteAllowlists(dst, ls, withContent, now, keepAll)
	return dst
}

func appendBulkCheck(dst []byte, targets []string, matches [][]engine.AllowlistMatch) []byte {
	dst, _ = WriteBulkCheck(dst, targets, func(i int) []engine.AllowlistMatch { return matches[i] }, keepAll)
	return dst
}
