package wire

import "strconv"

// second is in nanoseconds.
const second = 1e9

// AppendDuration appends a duration of that many nanoseconds, rounded to whole
// seconds (half away from zero), in Go's spelling and without quotes: 4h0m0s,
// 59m59s, 5s, 0s, -3s. Hours grow without limit.
func AppendDuration(dst []byte, nanoseconds int64) []byte {
	abs := uint64(nanoseconds)
	if nanoseconds < 0 {
		abs = -abs
	}
	abs = (abs + second/2) / second
	if nanoseconds < 0 && abs != 0 {
		dst = append(dst, '-')
	}
	hours, minutes, seconds := abs/3600, abs/60%60, abs%60
	if hours != 0 {
		dst = append(appendSmall(dst, hours), 'h')
	}
	if hours != 0 || minutes != 0 {
		dst = append(appendSmall(dst, minutes), 'm')
	}
	return append(appendSmall(dst, seconds), 's')
}

// appendSmall is strconv.AppendUint with a short way for the two digits that
// minutes, seconds and most hours have.
func appendSmall(dst []byte, n uint64) []byte {
	switch {
	case n < 10:
		return append(dst, byte('0'+n))
	case n < 100:
		return append(dst, byte('0'+n/10), byte('0'+n%10))
	}
	return strconv.AppendUint(dst, n, 10)
}
