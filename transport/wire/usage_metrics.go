package wire

import (
	"cmp"
	"slices"
	"strconv"

	"lapid/engine"
)

// readMetrics reads the metrics of an entry and writes them down again as a
// compact list with its keys in order: names and values are kept as they
// came, only the spelling of the JSON is this package's. Elements that are null say
// nothing and are left out. A report is stored as this text, so its size on
// disk is bounded by that of the body.
func (e *usageEntry) readMetrics() {
	e.metrics, e.about.Payload = "", nil
	if e.null() || e.emptyObject() {
		return
	}
	out := []byte{'['}
	n := 0
	for e.open('[', "[]models.DetailedMetrics"); e.more(']'); n++ {
		if e.null() {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		d := detail{usageEntry: e, known: e.metrics != ""}
		if !d.known {
			d.path = e.path + "metrics." + strconv.Itoa(n) + "."
		}
		if lacks := d.read(); !d.known {
			e.metrics = lacks
		}
		if e.metrics == "" {
			out = d.append(out)
		}
	}
	e.about.Payload = append(out, ']')
}

// Fields of one set of metrics and of its meta.
const (
	detailItems = iota
	detailMeta

	metaNow    = 0
	metaWindow = 1
)

var (
	detailFields     = newFields("DetailedMetrics", "items", "meta")
	detailMetaFields = newFields("MetricsMeta", "utc_now_timestamp", "window_size_seconds")
)

// detail is one set of metrics: numbers counted over one window of time.
type detail struct {
	*usageEntry
	known       bool // an earlier one lacks something: this one is read for its syntax only
	path        string
	items       []byte // the list as JSON, without brackets
	now, window int64
	lackItems   string
	lackMeta    string
}

// read reads one set and lists what it lacks, items before meta.
func (d *detail) read() (missing string) {
	o := newObject(&detailFields)
	for d.open('{', "models.DetailedMetrics"); d.fieldOf(&o); {
		switch o.at {
		case detailItems:
			o.note(d.readItems())
		case detailMeta:
			o.note(d.readMeta())
		default:
			d.skip()
		}
	}
	if d.known || o.has(1<<detailItems|1<<detailMeta) && d.lackItems == "" && d.lackMeta == "" {
		return ""
	}
	var f failures
	if !o.has(1 << detailItems) {
		f.required(d.path, "items")
	}
	f.inner(d.lackItems)
	if !o.has(1 << detailMeta) {
		f.required(d.path, "meta")
	}
	f.inner(d.lackMeta)
	return f.String()
}

// append writes the set as it is stored.
func (d *detail) append(dst []byte) []byte {
	dst = append(dst, `{"items":[`...)
	dst = append(dst, d.items...)
	dst = append(dst, `],"meta":{"utc_now_timestamp":`...)
	dst = strconv.AppendInt(dst, d.now, 10)
	dst = append(dst, `,"window_size_seconds":`...)
	dst = strconv.AppendInt(dst, d.window, 10)
	return append(dst, `}}`...)
}

// readMeta reads the moment and the length of the window, both in seconds, and
// reports whether they were there at all.
func (d *detail) readMeta() bool {
	d.now, d.window, d.lackMeta = 0, 0, ""
	if d.null() {
		return false
	}
	o := newObject(&detailMetaFields)
	for d.open('{', "models.MetricsMeta"); d.fieldOf(&o); {
		switch o.at {
		case metaNow:
			o.note(d.optionalInt64(&d.now))
		case metaWindow:
			o.note(d.optionalInt64(&d.window))
		default:
			d.skip()
		}
	}
	if !d.known {
		d.lackMeta = o.missing(d.path+"meta.", 1<<metaNow|1<<metaWindow)
	}
	return true
}

// readItems reads the numbers of the set, writing each down once it was read. Only
// the first that lacks something is told.
func (d *detail) readItems() bool {
	d.items, d.lackItems = d.items[:0], ""
	if d.null() {
		return false
	}
	if d.emptyObject() {
		return true
	}
	n := 0
	for d.open('[', "[]models.MetricsDetailItem"); d.more(']'); n++ {
		if d.null() {
			continue
		}
		i := item{detail: d}
		lacks := i.read()
		if d.known || d.lackItems != "" {
			continue
		}
		if lacks {
			d.lackItems = i.missing(d.path + "items." + strconv.Itoa(n) + ".")
		}
		if len(d.items) > 0 {
			d.items = append(d.items, ',')
		}
		d.items = i.append(d.items)
	}
	return true
}

// Fields of an item.
const (
	itemLabels = iota
	itemName
	itemUnit
	itemValue
)

var itemFields = newFields("MetricsDetailItem", "labels", "name", "unit", "value")

const itemRequired = 1<<itemName | 1<<itemUnit | 1<<itemValue

// item is one number with what it counts.
type item struct {
	*detail
	seen       object
	labels     []engine.Meta // by name, each once
	name, unit string
	value      []byte // the number as it was written; borrowed
}

// read reads an item and reports whether it lacks something or is too long.
func (i *item) read() bool {
	i.seen = newObject(&itemFields)
	for i.open('{', "models.MetricsDetailItem"); i.fieldOf(&i.seen); {
		switch i.seen.at {
		case itemLabels:
			i.readLabels()
		case itemName:
			i.seen.note(i.optionalString(&i.name))
		case itemUnit:
			i.seen.note(i.optionalString(&i.unit))
		case itemValue:
			i.seen.note(i.readValue())
		default:
			i.skip()
		}
	}
	long := len(i.name) > longestUsageText || len(i.unit) > longestUsageText
	for _, l := range i.labels {
		long = long || len(l.Key) > longestUsageText || len(l.Value) > longestUsageText
	}
	return long || len(i.labels) > mostUsageLabels || !i.seen.has(itemRequired)
}

// missing lists what is wrong with the item; "" after all when its texts have
// many bytes but few characters.
func (i *item) missing(path string) string {
	var f failures
	if len(i.labels) > mostUsageLabels {
		f.add(path + "labels in body should have at most " + strconv.Itoa(mostUsageLabels) + " properties")
	}
	for _, l := range i.labels {
		if f.String() != "" {
			break
		}
		if tooLong(&f, path+"labels: ", "a name", l.Key); f.String() == "" {
			tooLong(&f, path+"labels.", l.Key, l.Value)
		}
	}
	i.missingText(&f, path, itemName, i.name)
	i.missingText(&f, path, itemUnit, i.unit)
	if !i.seen.has(1 << itemValue) {
		f.required(path, "value")
	}
	return f.String()
}

// missingText notes a text that is not there or too long.
func (i *item) missingText(f *failures, path string, field int, text string) {
	if i.seen.has(1 << field) {
		tooLong(f, path, itemFields.names[field], text)
	} else {
		f.required(path, itemFields.names[field])
	}
}

// readValue checks that there is a number of 64 bits and keeps its text.
func (i *item) readValue() bool {
	if i.null() || i.err != nil {
		return false
	}
	digits := i.number("float64")
	if i.err != nil {
		return false
	}
	if _, err := strconv.ParseFloat(borrow(digits), 64); err != nil {
		i.outOfRange(digits, "float64")
		return false
	}
	i.value = digits
	return true
}

// readLabels reads a map of texts, into the order of their names.
func (i *item) readLabels() {
	i.labels = i.labels[:0]
	if i.null() {
		return
	}
	for i.open('{', "map[string]string"); i.field(); {
		l := engine.Meta{Key: i.texts.keep(i.reader.name)}
		i.optionalString(&l.Value)
		i.labels = append(i.labels, l)
	}
	// Of equal names the last counts, as everywhere.
	slices.Reverse(i.labels)
	slices.SortStableFunc(i.labels, func(a, b engine.Meta) int { return cmp.Compare(a.Key, b.Key) })
	i.labels = slices.CompactFunc(i.labels, func(a, b engine.Meta) bool { return a.Key == b.Key })
}

// append writes the number as it is stored; labels are left out when there are none.
func (i *item) append(dst []byte) []byte {
	dst = append(dst, '{')
	if len(i.labels) > 0 {
		dst = append(dst, `"labels":`...)
		for n, l := range i.labels {
			if n == 0 {
				dst = append(dst, '{')
			} else {
				dst = append(dst, ',')
			}
			dst = AppendString(dst, l.Key)
			dst = AppendString(append(dst, ':'), l.Value)
		}
		dst = append(dst, "},"...)
	}
	dst = append(dst, `"name":`...)
	dst = AppendString(dst, i.name)
	dst = append(dst, `,"unit":`...)
	dst = AppendString(dst, i.unit)
	dst = append(dst, `,"value":`...)
	return append(append(dst, i.value...), '}')
}
