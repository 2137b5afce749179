package wire

import (
	"strconv"
	"time"

	"lapid/engine"
)

// AppendIDs appends the answer to pushed alerts: their numbers as strings, []
// when none was stored.
func AppendIDs(dst []byte, ids []engine.AlertID) []byte {
	dst = append(dst, '[')
	for i, id := range ids {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = strconv.AppendUint(dst, uint64(id), 10)
		dst = append(dst, '"')
	}
	return append(dst, ']')
}

// AppendMessage appends the body of an error. Every refusal but those of the
// token layer has this form.
func AppendMessage(dst []byte, text string) []byte {
	dst = append(dst, `{"message":`...)
	dst = AppendString(dst, text)
	return append(dst, '}')
}

// AppendCoded appends the body of an error of the token layer, which repeats
// the status.
func AppendCoded(dst []byte, code int, text string) []byte {
	dst = append(dst, `{"code":`...)
	dst = strconv.AppendInt(dst, int64(code), 10)
	dst = append(dst, `,"message":`...)
	dst = AppendString(dst, text)
	return append(dst, '}')
}

// AppendToken appends the answer to a login or a refresh. Expire is written
// in its own zone, in whole seconds. The status is repeated in it, for that
// is what clients look at.
func AppendToken(dst []byte, expire time.Time, token string) []byte {
	dst = append(dst, `{"code":200,"expire":"`...)
	dst = expire.AppendFormat(dst, time.RFC3339)
	dst = append(dst, `","token":`...)
	dst = AppendString(dst, token)
	return append(dst, '}')
}

// AppendDeleted appends the answer to a deletion; the number is a string.
func AppendDeleted(dst []byte, n int) []byte {
	dst = append(dst, `{"nbDeleted":"`...)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, `"}`...)
}
