package profile

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"lapid/engine"
)

// historyFunctions look at decisions that are stored. All of them take an
// address or a range and count the decisions that contain the whole of it,
// whatever their scope, type and origin. Ended decisions are stored until
// their alert is flushed. Each is one walk over the covering prefixes.
// They see the view that the alert was judged with: what came in the same request is
// not in it.
func historyFunctions() []function {
	return []function{
		ask1("GetDecisionsCount", func(e *evaluation, value string) (int, error) {
			target, err := engine.ParseTarget(value)
			if err != nil {
				return e.uncounted(value, err), nil
			}
			n := 0
			e.stored(target, func(engine.Decision) { n++ })
			return n, nil
		}),
		ask2("GetDecisionsSinceCount", func(e *evaluation, value, since string) (int, error) {
			back, err := engine.ParseDuration(since)
			if err != nil {
				e.log(slog.LevelError, "Failed to parse since parameter", "since", clip(since), "error", clip(err.Error()))
				return 0, nil
			}
			target, err := engine.ParseTarget(value)
			if err != nil {
				return e.uncounted(value, err), nil
			}
			n, after := 0, e.now-int64(back)
			e.stored(target, func(d engine.Decision) {
				if d.CreatedAt() > after {
					n++
				}
			})
			return n, nil
		}),
		ask1("GetActiveDecisionsCount", func(e *evaluation, value string) (int, error) {
			target, err := engine.ParseTarget(value)
			if err != nil {
				return 0, fmt.Errorf("unable to convert '%s' to int: %w", value, err)
			}
			n := 0
			e.stored(target, func(d engine.Decision) {
				if d.Running(e.now) {
					n++
				}
			})
			return n, nil
		}),
		ask1("GetActiveDecisionsTimeLeft", func(e *evaluation, value string) (time.Duration, error) {
			target, err := engine.ParseTarget(value)
			if err != nil {
				return 0, fmt.Errorf("unable to convert '%s' to int: %w", value, err)
			}
			var longest time.Duration
			e.stored(target, func(d engine.Decision) {
				if d.Running(e.now) {
					longest = max(longest, time.Duration(engine.Left(d.Until(), e.now)))
				}
			})
			return longest, nil
		}),
	}
}

// stored visits the decisions that contain target. Without a view, as in a
// test of rules alone, there are none.
func (e *evaluation) stored(target netip.Prefix, visit func(engine.Decision)) {
	if e.view == nil {
		return
	}
	e.view.Stored(target, func(d engine.Decision) bool { visit(d); return true })
}

// uncounted reports a value that has no decisions to count. It counts as
// none, as in the reference.
func (e *evaluation) uncounted(value string, err error) int {
	e.log(slog.LevelError, "Failed to get decisions count from value", "value", clip(value), "error", clip(err.Error()))
	return 0
}
