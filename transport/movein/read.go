package movein

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"lapid/engine"
)

// Taker gets the rows of a source, in the order of its methods. What it is given is its
// own. An error that is a Refusal, or a Leave, leaves that one out and is counted; any other ends the
// reading. All calls come from one goroutine.
type Taker interface {
	Machine(context.Context, *Machine) error
	Bouncer(context.Context, *Bouncer) error
	Allowlist(context.Context, *Allowlist) error
	// Alerts gets alerts in the order of their numbers, and last those that were made up
	// for decisions without one. It refuses one by its field Refused.
	Alerts(context.Context, []*Alert) error
	Usage(context.Context, *engine.Usage) error
	// Central gets what the source knew of the Central API, by the names of its
	// config_items: a token, and when what was fetched last. It is not called where there
	// is nothing.
	Central(context.Context, map[string]string) error
	Counters(context.Context, Counters) error
}

// Refusal is why a Taker does not take a row.
type Refusal string

func (r Refusal) Error() string { return string(r) }

// Leave is why a Taker leaves a row out as a matter of course: nothing is wrong with it.
type Leave string

func (l Leave) Error() string { return string(l) }

// removedHere is why what was taken over before is not here any more.
const removedHere = Leave("was taken over before and removed here since: it stays so")

// Options says how a source is read.
type Options struct {
	Now        time.Time     // of the taking over: what is over is over by then
	MetricsAge time.Duration // usage metrics that are older are left out; 0: none are

	// Progress gets, after each batch, how many rows were read of how many. nil: nobody asks.
	Progress func(read, rows int64)
}

// Read hands everything in a source to a Taker and tells what became of each row. Where
// it fails the tally says how far it came. It may be called once.
func (s *Source) Read(ctx context.Context, o Options, to Taker) (*Tally, error) {
	r := &reader{source: s, to: to, o: o, now: unix(o.Now), tally: newTally(s), machine: map[int64]string{}, senders: map[sender]bool{}, names: map[sender]bool{}}
	err := r.read(ctx)
	r.tally.settle()
	return r.tally, explain(s.Place, err)
}

// reader is one reading.
type reader struct {
	source  *Source
	to      Taker
	o       Options
	now     int64
	tally   *Tally
	rows    int64            // of all tables
	machine map[int64]string // the name of each machine that was taken, by the number of its row
	senders map[sender]bool  // who may have sent usage metrics: those that were taken
	names   map[sender]bool  // of all bouncers and machines
}

func (r *reader) read(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		r.count, r.machines, r.bouncers, r.allowlists, r.alerts, r.usage, r.central, r.locks, r.counters,
	} {
		if err := step(ctx); err != nil {
			return err
		}
		r.progress()
	}
	return nil
}

// count asks the database how many rows there are, in the same view.
func (r *reader) count(ctx context.Context) error {
	for _, of := range relations {
		n, err := r.source.count(ctx, of)
		if err != nil {
			return err
		}
		r.tally.table(of).Rows = n
		r.rows += n
	}
	return nil
}

func (r *reader) progress() {
	if r.o.Progress == nil {
		return
	}
	var read int64
	for _, t := range r.tally.Tables {
		read += t.Read
	}
	r.o.Progress(read, r.rows)
}

// hand counts one that was given to the Taker, by its answer.
func (r *reader) hand(t *TableTally, id int64, err error, taken func()) error {
	var refused Refusal
	var leave Leave
	switch {
	case errors.As(err, &leave):
		t.leave(id, leave.Error())
	case err == nil:
		t.took()
		taken()
	case errors.As(err, &refused):
		t.damage(id, refused.Error())
	default:
		return err
	}
	return nil
}

// Columns of metrics, config_items and locks.
const (
	usageID = iota
	usageKind
	usageSender
	usageReceived
	usagePushed
	usagePayload
)

// sender is who sends usage metrics.
type sender struct {
	kind engine.UsageKind
	name string
}

// usagePage is how many reports are read at a time: they may be of some kilobytes each.
const usagePage = 200

// usage hands over reports of usage metrics, oldest first.
func (r *reader) usage(ctx context.Context) error {
	if r.source.has[metricsTable.name] == nil {
		return nil
	}
	tally := r.tally.table(metricsTable)
	type numbered struct {
		id int64
		*engine.Usage
	}
	query := "SELECT " + r.source.selection(metricsTable) + " FROM " + r.source.quote(metricsTable.name) +
		" WHERE " + r.source.quote("id") + " > ? ORDER BY " + r.source.quote("id") + " LIMIT ?"
	for after, n := int64(math.MinInt64), usagePage; n == usagePage; {
		var page []numbered
		n = 0
		if err := r.source.scan(ctx, metricsTable, r.source.where(query), []any{after, usagePage}, func(row *row) error {
			tally.Read++
			n++
			after = row.number(usageID)
			u := readUsage(row)
			switch {
			case row.bad != "":
				tally.damage(after, row.bad)
			case r.o.MetricsAge != 0 && u.ReceivedAt < engine.Later(r.now, -r.o.MetricsAge):
				tally.leave(after, "older than usage metrics are kept (db_config.flush.metrics_max_age)")
			case !r.senders[sender{u.Kind, u.Name}]:
				tally.leave(after, "who sent it is not there any more")
			default:
				page = append(page, numbered{after, u})
			}
			return nil
		}); err != nil {
			return err
		}
		for _, u := range page {
			if err := r.hand(tally, u.id, r.to.Usage(ctx, u.Usage), func() {}); err != nil {
				return err
			}
		}
		r.progress()
	}
	return nil
}

func readUsage(row *row) *engine.Usage {
	u := &engine.Usage{Name: row.text(usageSender), ReceivedAt: row.moment(usageReceived)}
	switch row.text(usageKind) {
	case "RC":
		u.Kind = engine.UsageBouncer
	case "LP":
		u.Kind = engine.UsageMachine
	default:
		row.fault(usageKind, "is neither LP nor RC")
	}
	u.Payload = row.metrics(usagePayload)
	return u
}

// mostCentral bounds what is taken over of the connection to the Central API, in bytes.
const mostCentral = 32 << 10

// central hands over what the source knew of the Central API.
func (r *reader) central(ctx context.Context) error {
	tally := r.tally.table(configTable)
	items, size := map[string]string{}, 0
	if err := r.source.all(ctx, configTable, "id", func(row *row) error {
		tally.Read++
		id, name, value := row.id(0), row.text(1), row.text(2)
		known := name == "apic_token" || name == "papi:last_pull" || strings.HasPrefix(name, "blocklist:") && strings.HasSuffix(name, ":last_pull")
		_, twice := items[name]
		switch size += len(name) + len(value); {
		case row.bad != "":
			tally.damage(id, row.bad)
		case !known:
			tally.leave(id, "says nothing that is known here")
		case twice:
			tally.leave(id, "there is another of that name")
		case size > mostCentral:
			size -= len(name) + len(value)
			tally.leave(id, "is longer than what the Central API gives: it begins anew there")
		default:
			items[name] = value
			tally.took()
		}
		return nil
	}); err != nil || len(items) == 0 {
		return err
	}
	return r.to.Central(ctx, items)
}

// locks counts the table of which nothing is taken over.
func (r *reader) locks(ctx context.Context) error {
	tally := r.tally.table(locksTable)
	return r.source.all(ctx, locksTable, "id", func(row *row) error {
		tally.Read++
		tally.leave(row.id(0), "a lock of the old server")
		return nil
	})
}

// mostNumber is the highest number of an alert or decision that is kept.
const mostNumber = 1<<32 - 1

// counters hands over the highest numbers that were given out.
func (r *reader) counters(ctx context.Context) (err error) {
	c := &r.tally.Counters
	for of, to := range map[*relation]*int64{alertsTable: &c.Alert, decisionsTable: &c.Decision} {
		counted := false
		if *to, counted, err = r.source.lastID(ctx, of); err != nil {
			return err
		}
		if !counted && *to > 0 {
			text := "the counter of this table cannot be read: new numbers go on behind the highest that is there"
			if r.source.Place.Kind == Postgres {
				text += "; with SELECT on its sequence (GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO ...) they go on behind the highest that was given"
			}
			r.tally.table(of).remark(*to, text)
		}
		if *to > mostNumber {
			r.tally.table(of).remark(*to, fmt.Sprintf("the counter of this table is beyond %d: what is there beyond it gets other numbers, and new numbers go on behind those", mostNumber))
		}
	}
	return r.to.Counters(ctx, *c)
}

// Nobody takes everything and keeps nothing: for looking what a source has.
type Nobody struct{}

func (Nobody) Machine(context.Context, *Machine) error          { return nil }
func (Nobody) Bouncer(context.Context, *Bouncer) error          { return nil }
func (Nobody) Allowlist(context.Context, *Allowlist) error      { return nil }
func (Nobody) Alerts(context.Context, []*Alert) error           { return nil }
func (Nobody) Usage(context.Context, *engine.Usage) error       { return nil }
func (Nobody) Central(context.Context, map[string]string) error { return nil }
func (Nobody) Counters(context.Context, Counters) error         { return nil }
