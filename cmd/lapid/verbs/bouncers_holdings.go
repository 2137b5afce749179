package verbs

import (
	"fmt"
	"time"

	"lapid/transport/admin"
)

// holdingCells are what the list says of what a bouncer has: what it has acknowledged, how
// old the oldest change is that it has not, and how many decisions it holds.
func holdingCells(b *admin.Bouncer) []string {
	acknowledged, lag := "", ""
	if b.HasAcknowledged {
		acknowledged = fmt.Sprint(b.Acknowledged)
	}
	if b.Streams {
		lag = lagText(b.Lag)
	}
	return []string{acknowledged, lag, holdsText(b)}
}

// lagText is an age, in whole seconds where it has some.
func lagText(nanos int64) string {
	d := time.Duration(nanos)
	if d >= time.Second {
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}

// holdsText is what a bouncer says that it holds of what it should, "" where neither is
// known. One that sends no metrics says nothing.
func holdsText(b *admin.Bouncer) string {
	switch {
	case b.Streams && b.HasReported:
		return fmt.Sprintf("%d of %d", b.Reported, b.Expected)
	case b.Streams:
		return fmt.Sprintf("? of %d", b.Expected)
	case b.HasReported:
		return fmt.Sprint(b.Reported)
	}
	return ""
}

// holding fills in what a bouncer has.
func (o *bouncerObject) holding(b *admin.Bouncer) {
	if b.HasReported {
		o.Reported = &b.Reported
	}
	if !b.Streams {
		return
	}
	seconds := time.Duration(b.Lag).Seconds()
	o.LagRevisions, o.LagSeconds, o.Expected = &b.LagRevisions, &seconds, &b.Expected
	if b.HasAcknowledged {
		at := uint64(b.Acknowledged)
		o.Acknowledged = &at
	}
	o.Polls = b.ShownPolls()
}

// showHolding adds to the table of one bouncer what it has, and how its last polls went.
func showHolding(table *table, b *admin.Bouncer) {
	cells := holdingCells(b)
	lag, holds := cells[1], cells[2]
	if b.Streams && b.LagRevisions > 0 {
		lag = fmt.Sprintf("%s (%d revisions)", lag, b.LagRevisions)
	}
	if holds != "" {
		holds += " decisions"
	}
	table.row("Acknowledged", cells[0])
	table.row("Lag", lag)
	table.row("Holds", holds)
	for i := range b.Polls {
		name := "Last Polls"
		if i > 0 {
			name = ""
		}
		table.row(name, pollText(&b.Polls[i]))
	}
}

// pollText is one poll in a line.
func pollText(p *admin.Poll) string {
	from, bytes := "-", "in pieces"
	if p.Placed {
		from = fmt.Sprint(p.From)
	}
	if p.Bytes >= 0 {
		bytes = fmt.Sprintf("%d bytes", p.Bytes)
	}
	return fmt.Sprintf("%s: %s to %d, %s, %s, %s", fullTime(p.At), from, p.To, bytes, lagText(p.Took), p.End)
}
