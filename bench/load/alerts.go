//go:build linux

package load

import (
	"strconv"
	"time"

	"lapid/bench/corpus"
)

// Alerts pushes one alert with one decision after the other, each for another
// entry of a set, from entry first on; at the end of the set it begins again.
func Alerts(token string, set *corpus.Set, first int) Sources {
	return func(i, n int) Source {
		return &alerts{
			head: "POST /v1/alerts HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench/1\r\nAuthorization: Bearer " + token +
				"\r\nContent-Type: application/json\r\nContent-Length: ",
			set: set, at: first + i, step: n,
		}
	}
}

type alerts struct {
	head     string
	set      *corpus.Set
	at, step int
	body     []byte
}

func (a *alerts) Next(dst []byte, _ int) []byte {
	at := a.at % a.set.Len()
	a.at += a.step
	a.body = append(a.body[:0], '[')
	a.body = append(corpus.AppendAlert(a.body, a.set.Part(at, at+1), time.Now()), ']')
	dst = strconv.AppendInt(append(dst, a.head...), int64(len(a.body)), 10)
	return append(append(dst, "\r\n\r\n"...), a.body...)
}
