package wire

import (
	"time"

	"lapid/engine"
)

// allowlistTime is UTC with exactly three decimals.
const allowlistTime = "2006-01-02T15:04:05.000Z"

// neverExpires is how an item without expiration is shown.
const neverExpires = "0001-01-01T00:00:00.000Z"

// AppendAllowlist appends one allowlist. Its items are listed only with
// content, and without those that have expired at now.
func AppendAllowlist(dst []byte, l *engine.Allowlist, withContent bool, now int64) []byte {
	dst = appendMoment(append(dst, `{"created_at":"`...), l.CreatedAt)
	dst = append(dst, `","description":`...)
	dst = AppendString(dst, l.Description)
	dst = append(dst, `,"items":[`...)
	if withContent {
		dst = appendItems(dst, l.Items, now)
	}
	dst = append(dst, `],"name":`...)
	dst = AppendString(dst, l.Name)
	dst = appendMoment(append(dst, `,"updated_at":"`...), l.UpdatedAt)
	return append(dst, `"}`...)
}

// AppendAllowlists appends a list of allowlists, [] when there are none.
func AppendAllowlists(dst []byte, ls []*engine.Allowlist, withContent bool, now int64) []byte {
	dst = append(dst, '[')
	for i, l := range ls {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendAllowlist(dst, l, withContent, now)
	}
	return append(dst, ']')
}

// AppendCheck appends the answer to the check of one address: {} when nothing
// matches.
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

// AppendBulkCheck appends the answer to the check of many addresses:
// matches[i] belongs to targets[i]. Targets without a match are left out.
func AppendBulkCheck(dst []byte, targets []string, matches [][]engine.AllowlistMatch) []byte {
	dst = append(dst, `{"results":[`...)
	first := true
	for i, target := range targets {
		if len(matches[i]) == 0 {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, `{"allowlists":[`...)
		for j, m := range matches[i] {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, '"')
			dst = appendReason(dst, m)
			dst = append(dst, '"')
		}
		dst = append(dst, `],"target":`...)
		dst = AppendString(dst, target)
		dst = append(dst, '}')
	}
	return append(dst, `]}`...)
}

func appendItems(dst []byte, items []engine.AllowlistItem, now int64) []byte {
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
		dst = append(dst, '}')
	}
	return dst
}

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
