package corpus

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"strconv"
	"time"
)

// buffer is how many bytes a writer gathers before it writes.
const buffer = 1 << 18

// WriteCSV writes a file for `decisions import --format csv`.
func WriteCSV(w io.Writer, entries iter.Seq[Entry]) error {
	return lines(w, "duration,reason,scope,type,value\n", entries, func(dst []byte, _ int, e *Entry) []byte {
		dst = appendDuration(dst, e.Duration)
		dst = append(append(dst, ','), e.Scenario...)
		dst = append(append(dst, ','), e.Scope()...)
		dst = append(append(dst, ','), e.Type...)
		dst = e.AppendValue(append(dst, ','))
		return append(dst, '\n')
	}, "")
}

// WriteJSON writes a file for `decisions import --format json`.
func WriteJSON(w io.Writer, entries iter.Seq[Entry]) error {
	return lines(w, "[", entries, func(dst []byte, i int, e *Entry) []byte {
		if i > 0 {
			dst = append(dst, ",\n"...)
		}
		dst = appendDuration(append(dst, `{"duration":"`...), e.Duration)
		dst = append(append(dst, `","reason":"`...), e.Scenario...)
		dst = append(append(dst, `","scope":"`...), e.Scope()...)
		dst = append(append(dst, `","type":"`...), e.Type...)
		dst = e.AppendValue(append(dst, `","value":"`...))
		return append(dst, `"}`...)
	}, "]\n")
}

// WriteNginx writes the lines of a geo block: each range and the text that a live
// query for it answers, in the notation of nginx.
func WriteNginx(w io.Writer, entries iter.Seq[Entry]) error {
	return lines(w, "", entries, func(dst []byte, i int, e *Entry) []byte {
		dst = append(e.Prefix.AppendTo(dst), " '"...)
		return append(AppendAnswer(dst, e, i+1), "';\n"...)
	}, "")
}

// WriteHAProxy writes the lines of a map file: each range and the text that a live query for it answers.
func WriteHAProxy(w io.Writer, entries iter.Seq[Entry]) error {
	return lines(w, "", entries, func(dst []byte, i int, e *Entry) []byte {
		dst = append(e.Prefix.AppendTo(dst), ' ')
		return append(AppendAnswer(dst, e, i+1), '\n')
	}, "")
}

// WriteRedis writes SET commands for the hosts, as the Redis protocol spells
// them: each address and the text that a live query for it answers. Ranges are left out:
// a GET cannot find them.
func WriteRedis(w io.Writer, entries iter.Seq[Entry]) error {
	var key, value []byte
	return lines(w, "", entries, func(dst []byte, i int, e *Entry) []byte {
		if !e.Prefix.IsSingleIP() {
			return dst
		}
		key = e.AppendValue(key[:0])
		value = AppendAnswer(value[:0], e, i+1)
		dst = append(dst, "*3\r\n$3\r\nSET\r\n"...)
		return bulk(bulk(dst, key), value)
	}, "")
}

func bulk(dst, text []byte) []byte {
	dst = strconv.AppendInt(append(dst, '$'), int64(len(text)), 10)
	dst = append(append(dst, "\r\n"...), text...)
	return append(dst, "\r\n"...)
}

// AppendAnswer appends what a live query for a lone entry answers.
func AppendAnswer(dst []byte, e *Entry, id int) []byte {
	dst = appendDuration(append(dst, `[{"duration":"`...), e.Duration-time.Second)
	dst = strconv.AppendInt(append(dst, `","id":`...), int64(id), 10)
	dst = append(append(dst, `,"origin":"cscli-import","scenario":"`...), e.Scenario...)
	dst = append(append(dst, `","scope":"`...), e.Scope()...)
	dst = append(append(dst, `","type":"`...), e.Type...)
	return append(e.AppendValue(append(dst, `","value":"`...)), `"}]`...)
}

// lines writes head, one piece per entry, and tail. The entry a piece is made
// of is its own until it returns.
func lines(w io.Writer, head string, entries iter.Seq[Entry], piece func([]byte, int, *Entry) []byte, tail string) error {
	out := bufio.NewWriterSize(w, buffer)
	_, _ = out.WriteString(head) // an error stays with the writer until Flush
	i := 0
	var line []byte
	for e := range entries {
		line = piece(line[:0], i, &e)
		if _, err := out.Write(line); err != nil {
			return fmt.Errorf("writing a decision set: %w", err)
		}
		i++
	}
	_, _ = out.WriteString(tail)
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing a decision set: %w", err)
	}
	return nil
}

// appendDuration appends whole seconds in the spelling of time.Duration.
func appendDuration(dst []byte, d time.Duration) []byte {
	s := int64(d / time.Second)
	dst = append(strconv.AppendInt(dst, s/3600, 10), 'h')
	dst = append(strconv.AppendInt(dst, s/60%60, 10), 'm')
	return append(strconv.AppendInt(dst, s%60, 10), 's')
}
