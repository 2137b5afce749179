package wire

import (
	"time"

	"lapid/engine"
)

// allowlistTime is UTC with exactly three decimals.
const allowlistTime = "2006-01-02T15:04:05.000Z"

// neverExpires is how an item without expiration is shown.
const neverExpires = "0001-01-01T00:00:00.000Z"

// WriteAllowlist appends one allowlist. Its items are listed only with content, and
// without those that have expired at now. After each, flush is as in WriteAlert.
// An item without a comment has no description at all, and a list that is not the
// console's nothing of it.
func WriteAllowlist(dst []byte, l *engine.Allowlist, withContent bool, now int64, flush func([]byte) ([]byte, error)) (_ []byte, err error) {
	dst = append(dst, '{')
	if l.ConsoleID != "" {
		dst = append(AppendString(append(dst, `"allowlist_id":`...), l.ConsoleID), ',')
	}
	if l.FromConsole {
		dst = append(dst, `"console_managed":true,`...)
	}
	dst = appendMoment(append(dst, `"created_at":"`...), l.CreatedAt)
	dst = append(dst, `","description":`...)
	dst = AppendString(dst, l.Description)
	dst = append(dst, `,"items":[`...)
	if withContent {
		if dst, err = writeItems(dst, l.Items, now, flush); err != nil {
			return dst, err
		}
	}
	dst = append(dst, `],"name":`...)
	dst = AppendString(dst, l.Name)
	dst = appendMoment(append(dst, `,"updated_at":"`...), l.UpdatedAt)
	return append(dst, `"}`...), nil
}

// WriteAllowlists appends a list of allowlists, [] when there are none, with flush as
// in WriteAlert.
func WriteAllowlists(dst []byte, ls []*engine.Allowlist, withContent bool, now int64, flush func([]byte) ([]byte, error)) (_ []byte, err error) {
	dst = append(dst, '[')
	for i, l := range ls {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = WriteAllowlist(dst, l, withContent, now, flush); err == nil {
			dst, err = flush(dst)
		}
		if err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

// AppendCheck appends the answer to the check of one address: {} when
// nothing matches. The reasons of several items are one text, joined by
// commas.
func AppendCheck(dst []byte, matches []engine.AllowlistMatch) []byte {
	if len(matches) == 0 {
		return append(dst, "{}"...)
	}
	dst = append(dst, `{"allowlisted":true,"reason":"`...)
	for i, m := range matches {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = appendReason(dst, m)
	}
	return append(dst, `"}`...)
}

// WriteBulkCheck appends the answer to the check of many addresses, with flush as in
// WriteAlert. matches is asked once for the place of each target; targets without a
// match are left out.
func WriteBulkCheck(dst []byte, targets []string, matches func(i int) []engine.AllowlistMatch, flush func([]byte) ([]byte, error)) (_ []byte, err error) {
	dst = append(dst, `{"results":[`...)
	first := true
	for i, target := range targets {
		found := matches(i)
		if len(found) == 0 {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, `{"allowlists":[`...)
		for j, m := range found {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, '"')
			dst = appendReason(dst, m)
			dst = append(dst, '"')
		}
		dst = append(dst, `],"target":`...)
		dst = AppendString(dst, target)
		if dst, err = flush(append(dst, '}')); err != nil {
			return dst, err
		}
	}
	return append(dst, `]}`...), nil
}

// writeItems writes the items of a list, without brackets.
func writeItems(dst []byte, items []engine.AllowlistItem, now int64, flush func([]byte) ([]byte, error)) (_ []byte, err error) {
	first := true
	for i := range items {
		item := &items[i]
		if item.Expired(now) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = appendMoment(append(dst, `{"created_at":"`...), item.CreatedAt)
		dst = append(dst, '"')
		dst = appendGiven(dst, `,"description":`, item.Comment)
		dst = append(dst, `,"expiration":"`...)
		if item.ExpiresAt == 0 {
			dst = append(dst, neverExpires...)
		} else {
			dst = appendMoment(dst, item.ExpiresAt)
		}
		dst = append(dst, `","value":`...)
		dst = AppendString(dst, item.Value)
		if dst, err = flush(append(dst, '}')); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// appendMoment writes Unix nanoseconds as allowlists show them.
func appendMoment(dst []byte, at int64) []byte {
	return time.Unix(0, at).UTC().AppendFormat(dst, allowlistTime)
}

// appendReason is AllowlistMatch.Reason, escaped, without a string to build.
func appendReason(dst []byte, m engine.AllowlistMatch) []byte {
	dst = appendEscaped(dst, m.Item.Value)
	dst = append(dst, " from "...)
	dst = appendEscaped(dst, m.List)
	if m.Item.Comment != "" {
		dst = append(dst, " ("...)
		dst = appendEscaped(dst, m.Item.Comment)
		dst = append(dst, ')')
	}
	return dst
}
