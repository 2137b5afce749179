package audit

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"lapid/engine"
	"lapid/transport/visible"
)

// Object is a row in JSON. Its keys are promised.
type Object struct {
	Number    uint64          `json:"number"`
	Time      string          `json:"time"` // RFC 3339, UTC, nanoseconds
	Revision  uint64          `json:"revision"`
	ActorKind string          `json:"actor_kind"`
	Actor     string          `json:"actor"`
	Address   string          `json:"address"`
	Action    string          `json:"action"`
	Target    string          `json:"target"`
	Before    json.RawMessage `json:"before"`
	After     json.RawMessage `json:"after"`
	Outcome   string          `json:"outcome"`
	Token     uint32          `json:"token,omitempty"` // number of the API token
}

// ObjectOf is a row as an Object.
func ObjectOf(r *engine.AuditRow) *Object {
	return &Object{Number: r.Number, Time: Moment(r.At), Revision: uint64(r.Revision), ActorKind: engine.AuditActorKind(r.By.Kind), Actor: r.By.Name,
		Address: r.Address, Action: r.Action, Target: r.Target, Before: raw(r.Before), After: raw(r.After), Outcome: r.Outcome, Token: r.Token}
}

// raw is JSON as it stands, null for nothing. What is none, in a row that was changed by
// other hands, is a text.
func raw(text string) json.RawMessage {
	switch {
	case text == "":
		return json.RawMessage("null")
	case json.Valid([]byte(text)):
		return json.RawMessage(text)
	}
	b, _ := json.Marshal(text) // a text can be written
	return b
}

// Moment is a time as rows tell it.
func Moment(at int64) string { return time.Unix(0, at).UTC().Format(time.RFC3339Nano) }

// AppendNDJSON appends a row as one line of JSON, with the line's end.
func AppendNDJSON(dst []byte, r *engine.AuditRow) ([]byte, error) {
	b, err := json.Marshal(ObjectOf(r))
	if err != nil {
		return dst, err
	}
	return append(append(dst, b...), '\n'), nil
}

// AppendCEF appends a row as one line in ArcSight's Common Event Format, version 0. Nothing
// that a stranger chose can end a field or the line: what is not seen is written as an
// escape first, then the format's own signs are escaped. version is this program's.
func AppendCEF(dst []byte, r *engine.AuditRow, version string) []byte {
	severity := "3"
	if r.Outcome != engine.AuditOK {
		severity = "6"
	}
	dst = append(dst, "CEF:0|lapid|lapid"...)
	for _, s := range [...]string{version, r.Action, strings.ReplaceAll(r.Action, ".", " "), severity} {
		dst = append(dst, '|')
		dst = append(dst, cefHeader.Replace(visible.Text(s))...)
	}
	dst = append(dst, "|rt="...)
	dst = strconv.AppendInt(dst, r.At/int64(time.Millisecond), 10)
	for _, f := range [...]struct{ key, label, text string }{
		{"externalId", "", strconv.FormatUint(r.Number, 10)}, {"act", "", r.Action}, {"outcome", "", r.Outcome},
		{"suser", "", r.By.Name}, {"src", "", r.Address}, {"cs1", "actorKind", engine.AuditActorKind(r.By.Kind)},
		{"cs2", "target", r.Target}, {"cs3", "before", r.Before}, {"cs4", "after", r.After},
		{"cn1", "revision", strconv.FormatUint(uint64(r.Revision), 10)},
		{"cn2", "token", number(r.Token)},
	} {
		if f.text == "" {
			continue
		}
		if f.label != "" {
			dst = append(append(append(append(dst, ' '), f.key...), "Label="...), f.label...)
		}
		dst = append(append(append(dst, ' '), f.key...), '=')
		dst = append(dst, cefValue.Replace(visible.Text(f.text))...)
	}
	return append(dst, '\n')
}

// Signs that mean something in a header, and in a value. Line ends are escapes already.
var (
	cefHeader = strings.NewReplacer(`\`, `\\`, `|`, `\|`)
	cefValue  = strings.NewReplacer(`\`, `\\`, `=`, `\=`)
)

// number is "" for none.
func number(n uint32) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(n), 10)
}
