package report

import (
	"fmt"
	"math"
	"strings"
)

// A drawing's measures, in pixels.
const (
	width, height = 760, 420
	left, right   = 90, 20
	top, bottom   = 50, 60
)

// colours that stay apart for those who do not see red and green.
var colours = []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"}

// Bar is one bar of a group. Values are not negative.
type Bar struct {
	Name  string
	Value float64
}

// Group is bars under one name.
type Group struct {
	Name string
	Bars []Bar
}

// Bars draws groups of bars from zero up. Bars of one name have one colour.
// The figure stands above each bar.
func Bars(title, unit string, groups []Group) []byte {
	d := begin(title)
	peak := 0.0
	colour := map[string]string{}
	var names []string
	for _, g := range groups {
		for _, b := range g.Bars {
			peak = max(peak, b.Value)
			if colour[b.Name] == "" {
				colour[b.Name] = colours[len(names)%len(colours)]
				names = append(names, b.Name)
			}
		}
	}
	limit := d.axis(peak, unit)
	slot := float64(width-left-right) / float64(max(len(groups), 1))
	for i, g := range groups {
		x := left + slot*float64(i)
		each := slot * 0.8 / float64(max(len(g.Bars), 1))
		for k, b := range g.Bars {
			h := float64(height-top-bottom) * b.Value / limit
			bx := x + slot*0.1 + each*float64(k)
			d.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, bx, float64(height-bottom)-h, each*0.92, h, colour[b.Name])
			d.text(bx+each/2, float64(height-bottom)-h-4, "middle", 11, short(b.Value))
		}
		d.text(x+slot/2, height-bottom+18, "middle", 12, g.Name)
	}
	d.legend(names)
	return d.end()
}

// Line is one curve; X ascends and both are above zero. X and Y have the
// same length.
type Line struct {
	Name string
	X, Y []float64
}

// Lines draws curves on two logarithmic axes; tick gives the words under the
// bottom one. Without two different places in X, or with a figure of zero,
// there is nothing but the title.
func Lines(title, unit string, lines []Line, ticks map[float64]string) []byte {
	d := begin(title)
	loX, hiX, loY, hiY := math.Inf(1), 0.0, math.Inf(1), 0.0
	for _, l := range lines {
		for i := range l.X {
			loX, hiX = min(loX, l.X[i]), max(hiX, l.X[i])
			loY, hiY = min(loY, l.Y[i]), max(hiY, l.Y[i])
		}
	}
	if hiX <= loX || loY <= 0 {
		return d.end()
	}
	loY, hiY = math.Pow(10, math.Floor(math.Log10(loY))), math.Pow(10, math.Ceil(math.Log10(hiY)*0.999999))
	x := func(v float64) float64 {
		return left + (width-left-right)*math.Log(v/loX)/math.Log(hiX/loX)
	}
	y := func(v float64) float64 {
		return height - bottom - (height-top-bottom)*math.Log(v/loY)/math.Log(hiY/loY)
	}
	for v := loY; v <= hiY*1.0001; v *= 10 {
		d.grid(y(v), short(v)+" "+unit)
	}
	for v, word := range ticks {
		d.text(x(v), height-bottom+18, "middle", 12, word)
	}
	var names []string
	for i, l := range lines {
		names = append(names, l.Name)
		var points strings.Builder
		for k := range l.X {
			fmt.Fprintf(&points, "%.1f,%.1f ", x(l.X[k]), y(l.Y[k]))
		}
		d.add(`<polyline fill="none" stroke-width="2" stroke="%s" points="%s"/>`, colours[i%len(colours)], points.String())
	}
	d.legend(names)
	return d.end()
}

// drawing is an SVG text in the making.
type drawing struct{ b strings.Builder }

// begin is an empty drawing with its title.
func begin(title string) *drawing {
	d := new(drawing)
	d.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif">`, width, height)
	d.add(`<rect width="%d" height="%d" fill="#ffffff"/>`, width, height)
	d.text(width/2, 22, "middle", 15, title)
	return d
}

// end is the whole text.
func (d *drawing) end() []byte {
	d.add(`</svg>`)
	return []byte(d.b.String())
}

// add appends one element.
func (d *drawing) add(format string, a ...any) {
	fmt.Fprintf(&d.b, format, a...)
	d.b.WriteByte('\n')
}

// text writes words at a place, whatever is in them.
func (d *drawing) text(x, y float64, anchor string, size int, words string) {
	words = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(words)
	d.add(`<text x="%.1f" y="%.1f" font-size="%d" text-anchor="%s" fill="#222222">%s</text>`, x, y, size, anchor, words)
}

// grid draws a line across, with what it stands for beside it.
func (d *drawing) grid(y float64, words string) {
	d.add(`<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#cccccc"/>`, left, y, width-right, y)
	d.text(left-6, y+4, "end", 11, words)
}

// axis draws the lines of a linear axis from 0 and gives its end: the next of 1,
// 2, 2.5, 5 or 10 times a power of ten.
func (d *drawing) axis(peak float64, unit string) float64 {
	if peak <= 0 {
		peak = 1
	}
	power := math.Pow(10, math.Floor(math.Log10(peak)))
	limit := 10 * power
	for _, step := range []float64{1, 2, 2.5, 5} {
		if peak*1.05 <= step*power {
			limit = step * power
			break
		}
	}
	for i := range 6 {
		v := limit * float64(i) / 5
		d.grid(float64(height-bottom)-float64(height-top-bottom)*float64(i)/5, short(v)+" "+unit)
	}
	return limit
}

// legend names the colours below the drawing.
func (d *drawing) legend(names []string) {
	x := float64(left)
	for i, name := range names {
		d.add(`<rect x="%.1f" y="%d" width="12" height="12" fill="%s"/>`, x, height-24, colours[i%len(colours)])
		d.text(x+17, height-14, "start", 12, name)
		x += 40 + 7*float64(len(name))
	}
}

// short spells a number with k and M.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3gM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.3gk", v/1e3)
	}
	return fmt.Sprintf("%.3g", v)
}
