package wire

import (
	"math"
	"strconv"
	"time"

	"lapid/engine"
)

// goneMachine stands for the sender of an alert whose machine was removed.
const goneMachine = "N/A"

// WriteAlert appends one alert object, of whatever size, with the decisions ds, ended
// ones among them: null when there are none, or none are wanted. now is the moment
// their durations are counted from. After each decision and each event flush is given
// what there is, and what it gives back is appended to; its error ends it.
func WriteAlert(dst []byte, a *engine.Alert, ds []engine.Decision, withDecisions bool, now int64, flush func([]byte) ([]byte, error)) ([]byte, error) {
	dst = append(dst, `{"capacity":`...)
	dst = strconv.AppendInt(dst, int64(a.Capacity), 10)
	dst = append(dst, `,"created_at":"`...)
	dst = time.Unix(0, a.CreatedAt).UTC().AppendFormat(dst, time.RFC3339)
	dst = append(dst, `","decisions":`...)
	if !withDecisions {
		ds = nil
	}
	dst, err := writeAlertDecisions(dst, ds, a.Simulated, now, flush)
	if err != nil {
		return dst, err
	}
	dst = append(dst, `,"events":`...)
	if dst, err = writeEvents(dst, a.Events, flush); err != nil {
		return dst, err
	}
	dst = append(dst, `,"events_count":`...)
	dst = strconv.AppendInt(dst, int64(a.EventsCount), 10)
	dst = append(dst, `,"id":`...)
	dst = strconv.AppendUint(dst, uint64(a.ID), 10)
	dst = appendGiven(dst, `,"kind":`, a.Kind)
	dst = append(dst, `,"labels":null,"leakspeed":`...)
	dst = AppendString(dst, a.Leakspeed)
	dst = append(dst, `,"machine_id":`...)
	machine := a.MachineID
	if machine == "" {
		machine = goneMachine
	}
	dst = AppendString(dst, machine)
	dst = append(dst, `,"message":`...)
	dst = AppendString(dst, a.Message)
	if len(a.Meta) > 0 {
		dst = appendMeta(append(dst, `,"meta":`...), a.Meta)
	}
	if a.Remediation {
		dst = append(dst, `,"remediation":true`...)
	}
	return appendAlertTail(dst, a), nil
}

// appendAlertTail writes the fields from scenario on and closes the object.
func appendAlertTail(dst []byte, a *engine.Alert) []byte {
	dst = append(dst, `,"scenario":`...)
	dst = AppendString(dst, a.Scenario)
	dst = append(dst, `,"scenario_hash":`...)
	dst = AppendString(dst, a.ScenarioHash)
	dst = append(dst, `,"scenario_version":`...)
	dst = AppendString(dst, a.ScenarioVersion)
	dst = append(dst, `,"simulated":`...)
	dst = strconv.AppendBool(dst, a.Simulated)
	dst = append(dst, `,"source":`...)
	dst = appendSource(dst, &a.Source)
	dst = append(dst, `,"start_at":"`...)
	dst = a.StartAt.Time().AppendFormat(dst, time.RFC3339)
	dst = append(dst, `","stop_at":"`...)
	dst = a.StopAt.Time().AppendFormat(dst, time.RFC3339)
	dst = append(dst, `","uuid":"`...)
	dst = appendUUID(dst, a.UUID)
	return append(dst, `"}`...)
}

// writeAlertDecisions writes decisions as alerts show them: with the alert's
// simulated flag and without uuid.
func writeAlertDecisions(dst []byte, ds []engine.Decision, simulated bool, now int64, flush func([]byte) ([]byte, error)) (_ []byte, err error) {
	if len(ds) == 0 {
		return append(dst, "null"...), nil
	}
	between := byte('[')
	for _, d := range ds {
		dst = append(dst, between)
		between = ','
		dst = appendHead(dst, engine.Left(d.Until(), now), uint64(d.ID()))
		dst = appendWords(dst, d.Origin(), d.Scenario(), d.Scope())
		dst = append(dst, `","simulated":`...)
		dst = strconv.AppendBool(dst, simulated)
		dst = appendWord(dst, `,"type":"`, d.Type())
		if dst, err = flush(appendValue(dst, d)); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

// appendSource writes what the alert is about; of its fields scope and value alone
// are there even when they are empty.
func appendSource(dst []byte, s *engine.Source) []byte {
	start := len(dst)
	dst = appendGiven(dst, `,"as_name":`, s.AsName)
	dst = appendGiven(dst, `,"as_number":`, s.AsNumber)
	dst = appendGiven(dst, `,"cn":`, s.Cn)
	dst = appendGiven(dst, `,"ip":`, s.IP)
	dst = appendDegrees(dst, `,"latitude":`, s.Latitude)
	dst = appendDegrees(dst, `,"longitude":`, s.Longitude)
	dst = appendGiven(dst, `,"range":`, s.Range)
	dst = append(dst, `,"scope":`...)
	dst = AppendString(dst, s.Scope)
	dst = append(dst, `,"value":`...)
	dst = AppendString(dst, s.Value)
	dst[start] = '{' // in place of the first comma
	return append(dst, '}')
}

// writeEvents writes null when there are no events. An event that came
// without meta is told from one whose meta is empty.
func writeEvents(dst []byte, events []engine.Event, flush func([]byte) ([]byte, error)) (_ []byte, err error) {
	if len(events) == 0 {
		return append(dst, "null"...), nil
	}
	between := byte('[')
	for i := range events {
		e := &events[i]
		dst = append(dst, between)
		between = ','
		dst = append(dst, `{"meta":`...)
		if e.NoMeta {
			dst = append(dst, "null"...)
		} else {
			dst = appendMeta(dst, e.Meta)
		}
		dst = append(dst, `,"timestamp":"`...)
		dst = e.Timestamp.Time().AppendFormat(dst, eventTime)
		if dst, err = flush(append(dst, `"}`...)); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

// eventTime is how event timestamps are printed: Go's default form, as the
// reference server does.
const eventTime = "2006-01-02 15:04:05.999999999 -0700 MST"

// appendMeta writes a list of keys and values, each left out when empty.
func appendMeta(dst []byte, meta []engine.Meta) []byte {
	dst = append(dst, '[')
	for i := range meta {
		m := &meta[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '{')
		if m.Key != "" {
			dst = AppendString(append(dst, `"key":`...), m.Key)
		}
		if m.Value != "" {
			if m.Key != "" {
				dst = append(dst, ',')
			}
			dst = AppendString(append(dst, `"value":`...), m.Value)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// appendGiven writes a key, given with its comma, and text, unless it is empty.
func appendGiven(dst []byte, key, text string) []byte {
	if text == "" {
		return dst
	}
	return AppendString(append(dst, key...), text)
}

// appendDegrees writes a key, given with its comma, and a 32-bit number in its
// shortest decimal form, unless it is zero, or infinite or none, which JSON cannot
// say. The exponent is written as JavaScript does it, and encoding/json after it.
func appendDegrees(dst []byte, key string, f float32) []byte {
	if f == 0 || f-f != 0 {
		return dst
	}
	dst = append(dst, key...)
	format := byte('f')
	if abs := float32(math.Abs(float64(f))); abs < 1e-6 || abs >= 1e21 {
		format = 'e'
	}
	dst = strconv.AppendFloat(dst, float64(f), format, -1, 32)
	if n := len(dst); format == 'e' && dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1] // e-09 is written e-9
		dst = dst[:n-1]
	}
	return dst
}
