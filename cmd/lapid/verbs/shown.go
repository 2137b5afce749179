package verbs

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"lapid/transport/admin"
)

// Moments come as Unix nanoseconds by the server's clock and are shown in UTC. The form
// differs from place to place as in the reference, for scripts read it; 0 is never, for
// which each place has a word of its own.

// milli is a moment with three decimals, UTC. It is how the reference's own
// answers write moments of allowlists.
func milli(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000Z") }

// never is a moment in a format, or the word for none.
func never(ns int64, format func(int64) string) string {
	if ns == 0 {
		return "never"
	}
	return format(ns)
}

// fullTime is a moment as inspect shows it, "" for never. Go's own form, as
// the reference prints it.
func fullTime(ns int64) string {
	if ns == 0 {
		return ""
	}
	return time.Unix(0, ns).UTC().String()
}

// withMachine adds the machine that has sent the alert, where it is asked for.
func withMachine(row []string, a *admin.Alert, machines bool) []string {
	if machines {
		row = append(row, a.MachineID)
	}
	return row
}

// id is a number of an alert or decision as it is shown.
func id(n uint64) string { return strconv.FormatUint(n, 10) }

// as is the autonomous system of an alert's source, number and name.
func as(a *admin.Alert) string {
	if a.Source.AsNumber == "" {
		return a.Source.AsName
	}
	return a.Source.AsNumber + " " + a.Source.AsName
}

// deletedObject is what was deleted, in JSON. All verbs that delete share
// it.
type deletedObject struct {
	Deleted int `json:"deleted"`
}

// Signs in tables.
const (
	good    = "✔️"
	bad     = "🚫"
	warning = "⚠️"
)

// tick is the sign for whether a machine may log in.
func tick(ok bool) string {
	if ok {
		return good
	}
	return bad
}

// second is a moment in whole seconds, UTC.
func second(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339) }

// orDash is a moment in whole seconds, UTC, and a dash for never.
func orDash(ns int64) string {
	if ns == 0 {
		return "-"
	}
	return second(ns)
}

// moment is a time as JSON shows it, nil for never.
func moment(ns int64) *time.Time {
	if ns == 0 {
		return nil
	}
	t := time.Unix(0, ns).UTC()
	return &t
}

// osText is an operating system as the reference writes it, and its question mark for
// one that was not told.
func osText(o admin.OS) string {
	if o.Name == "" && o.Version == "" {
		return "?"
	}
	return o.Name + "/" + o.Version
}

// sortedKeys are the keys of a map in alphabetical order, for whatever is shown or
// sent.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
