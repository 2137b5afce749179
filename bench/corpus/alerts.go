package corpus

import (
	"iter"
	"strconv"
	"time"
)

// AppendAlert appends one alert of the contract that brings all entries as its
// decisions, each under its own origin. Its stop is the moment given.
// Without an entry there is an alert without decisions.
func AppendAlert(dst []byte, entries iter.Seq[Entry], stop time.Time) []byte {
	dst = append(dst, `{"capacity":0,"decisions":[`...)
	first := true
	var source Entry
	for e := range entries {
		if first {
			source = e
		} else {
			dst = append(dst, ',')
		}
		first = false
		dst = appendDecision(dst, &e)
	}
	dst = append(dst, `],"events":[],"events_count":0,"leakspeed":"","message":"","scenario":"`...)
	dst = append(append(dst, source.Scenario...), `","scenario_hash":"","scenario_version":"","simulated":false,`...)
	dst = append(dst, `"source":{"scope":"`...)
	if first {
		dst = append(dst, `","value":"`...)
	} else {
		dst = append(append(dst, source.Scope()...), `","value":"`...)
		dst = source.AppendValue(dst)
	}
	dst = appendTime(append(dst, `"},"start_at":"`...), stop)
	return append(appendTime(append(dst, `","stop_at":"`...), stop), `"}`...)
}

// appendDecision appends one entry; durations are in milliseconds.
func appendDecision(dst []byte, e *Entry) []byte {
	dst = append(dst, `{"duration":"`...)
	dst = strconv.AppendInt(dst, int64(e.Duration/time.Millisecond), 10)
	dst = append(append(dst, `ms","origin":"`...), e.Origin...)
	dst = append(append(dst, `","scenario":"`...), e.Scenario...)
	dst = append(append(dst, `","scope":"`...), e.Scope()...)
	dst = append(append(dst, `","type":"`...), e.Type...)
	return append(e.AppendValue(append(dst, `","value":"`...)), `"}`...)
}

// appendTime appends a moment, UTC.
func appendTime(dst []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(dst, time.RFC3339Nano)
}
