package report

import (
	"fmt"
	"math"
)

// Bound says what a figure has to be. Both limits are of the same side.
type Bound struct {
	AtMost bool    // else at least
	Must   float64 // to be reached
	Beyond float64 // to be striven for; 0: nothing beyond
	Unit   string  // "s", "ms", "bytes"; "×" for a ratio
}

// Row is one line of the table. Key names it in the program, What in the
// page.
type Row struct {
	Key   string
	What  string
	Bound Bound

	// What Measured or Failed were told.
	done    bool
	value   float64
	details string
	failure string

	// What Lost was told.
	where string
	lost  float64
}

// MostLost is the part of the CPUs' time that may go to others while a row is measured. Beyond it the
// row shows its figure and has no verdict.
const MostLost = 0.02

// noisy is the verdict of a row that was measured while others had too much of the CPUs.
const noisy = "noisy"

// text spells a figure: three places, or whole numbers from a hundred on.
func text(v float64, unit string) string {
	s := ""
	switch a := math.Abs(v); {
	case a >= 100:
		s = fmt.Sprintf("%.0f", v)
	case a >= 10:
		s = fmt.Sprintf("%.1f", v)
	default:
		s = fmt.Sprintf("%.2f", v)
	}
	if unit == "" || unit == "×" {
		return s + unit
	}
	return s + " " + unit
}

// sign, must and beyond are the limits as the table shows them.
func (b *Bound) sign() string {
	if b.AtMost {
		return "≤ "
	}
	return "≥ "
}

func (b *Bound) must() string { return b.sign() + text(b.Must, b.Unit) }

func (b *Bound) beyond() string {
	if b.Beyond == 0 {
		return ""
	}
	return b.sign() + text(b.Beyond, b.Unit)
}

// holds reports whether a figure is on the right side of a limit.
func (b *Bound) holds(v, limit float64) bool {
	if b.AtMost {
		return v <= limit
	}
	return v >= limit
}

// Verdict says whether a figure is reached, and if not by how much it is missed.
func (b *Bound) Verdict(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "no figure"
	case b.Beyond != 0 && b.holds(v, b.Beyond):
		return "beyond"
	case b.holds(v, b.Must):
		return "reached"
	case b.Must == 0:
		return "missed"
	}
	return fmt.Sprintf("missed, by %.0f %%", 100*math.Abs(v/b.Must-1))
}

// cells gives the row's line of the table.
func (r *Row) cells(judged bool) []string {
	measured, verdict := "not measured", ""
	switch {
	case r.failure != "":
		measured = "not measured: " + r.failure
	case r.done:
		measured = text(r.value, r.Bound.Unit)
		if r.details != "" {
			measured += " (" + r.details + ")"
		}
		if r.where != "" {
			measured += fmt.Sprintf(" [%s, lost to others %.1f %%]", r.where, 100*r.lost)
		}
		verdict = r.verdict()
	}
	if !judged {
		return []string{r.What, measured}
	}
	return []string{r.What, r.Bound.must(), r.Bound.beyond(), measured, verdict}
}

// verdict is none where the figure may be that of others' work. What is no number has lost nothing either.
func (r *Row) verdict() string {
	if !(r.lost <= MostLost) {
		return noisy
	}
	return r.Bound.Verdict(r.value)
}
