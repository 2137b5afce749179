package wire

import (
	"strconv"
	"unicode/utf8"

	"lapid/engine"
)

const (
	// longestUsageText is how many characters most texts of a report may have.
	longestUsageText = 255
	// mostUsageLabels is how many labels one number may have; the field has five.
	mostUsageLabels = 64
)

// Fields that all entries have, in the order in which missing ones are listed.
const (
	entryMetrics = iota
	entryOS
	entryStarted
	entryVersion
	entryFeatureFlags
	entryOwn // from here on each section has its own
)

// Fields of a log processor's entry alone.
const (
	processorDatasources = entryOwn + iota
	processorHubItems
)

// Fields of a bouncer's entry alone.
const componentType = entryOwn

// entryFields are the fields of an entry, by section.
var entryFields = [3]fields{
	newFields("LapiMetrics", "metrics", "os", "utc_startup_timestamp", "version", "feature_flags"),
	newFields("LogProcessorsMetrics", "metrics", "os", "utc_startup_timestamp", "version", "feature_flags",
		"datasources", "hub_items", "name", "last_push", "last_update"),
	newFields("RemediationComponentsMetrics", "metrics", "os", "utc_startup_timestamp", "version", "feature_flags",
		"type", "name", "last_pull"),
}

// usageEntry is one entry of a report while it is read.
type usageEntry struct {
	*usageParser
	section int
	path    string
	about   *engine.Usage // the report's, or one that is dropped
	seen    object

	metrics, os, hubItems string // what is missing in them
	longName              string // what is wrong with the name, if anything is
}

// entry reads one entry. The first of the sender's kind is what the report
// is about; of the others only what they lack is of interest. Path names the
// entry in what is said about it.
func (p *usageParser) entry(section int, path string) {
	e := usageEntry{usageParser: p, section: section, path: path, seen: newObject(&entryFields[section])}
	e.about = &engine.Usage{}
	if p.kind == sender(section) && p.entries[section] == 0 {
		e.about = p.usage
	}
	for p.open('{', "models."+e.seen.fields.owner); p.fieldOf(&e.seen); {
		e.value()
	}
	if p.err == nil && p.lacks[section] == "" {
		p.lacks[section] = e.missing()
	}
}

// value reads the value of a field that all entries have.
func (e *usageEntry) value() {
	switch e.seen.at {
	case entryMetrics:
		e.readMetrics()
	case entryOS:
		e.readOS()
	case entryStarted:
		var started int64
		e.seen.note(e.optionalInt64(&started))
	case entryVersion:
		e.seen.note(e.optionalString(&e.about.Version))
	case entryFeatureFlags:
		e.about.FeatureFlags = e.strings("[]string", true)
	default:
		e.ownValue()
	}
}

// ownValue reads the value of a field of a section.
func (e *usageEntry) ownValue() {
	switch at := e.seen.at; {
	case at < 0:
		e.skip()
	case e.section == usageProcessors && at == processorDatasources:
		e.readDatasources()
	case e.section == usageProcessors && at == processorHubItems:
		e.readHubItems()
	case e.section == usageComponents && at == componentType:
		e.optionalString(&e.about.Type)
	case e.seen.fields.names[at] == "name": // the credentials name the sender
		name := ""
		if e.optionalString(&name); len(name) > engine.LongestName && e.longName == "" {
			e.longName = e.path + "name in body should be at most " + strconv.Itoa(engine.LongestName) + " bytes long"
		}
	default: // last_pull and the like
		e.ignoredInt()
	}
}

// missing is the list of what the entry lacks. The fields that all have are an
// object of their own in it.
func (e *usageEntry) missing() string {
	var base failures
	base.inner(e.metrics)
	base.inner(e.os)
	e.need(&base, entryStarted)
	if e.need(&base, entryVersion) {
		tooLong(&base, e.path, "version", e.about.Version)
	}
	var f failures
	f.inner(base.String())
	if e.section == usageProcessors {
		e.need(&f, processorDatasources)
		e.need(&f, processorHubItems)
		if e.hubItems != "" {
			f.add(e.hubItems)
		}
	}
	if e.longName != "" {
		f.add(e.longName)
	}
	return f.String()
}

// need notes a required field that is not there, and reports whether it is.
func (e *usageEntry) need(f *failures, field int) bool {
	if e.seen.has(1 << field) {
		return true
	}
	f.required(e.path, e.seen.fields.names[field])
	return false
}

// tooLong notes a text beyond the limit.
func tooLong(f *failures, path, name, text string) {
	if len(text) > longestUsageText && utf8.RuneCountInString(text) > longestUsageText {
		f.atMost(path, name, longestUsageText)
	}
}

// Fields of an operating system.
const (
	osFamily = iota
	osName
	osVersion
)

var osFields = newFields("OSversion", "family", "name", "version")

// readOS reads the operating system, of which name and version must be there when it
// is.
func (e *usageEntry) readOS() {
	e.about.OS, e.about.HasOS, e.os = engine.OS{}, false, ""
	if e.null() {
		return
	}
	os, o := &e.about.OS, newObject(&osFields)
	for e.open('{', "models.OSversion"); e.fieldOf(&o); {
		switch o.at {
		case osFamily:
			e.optionalString(&os.Family)
		case osName:
			o.note(e.optionalString(&os.Name))
		case osVersion:
			o.note(e.optionalString(&os.Version))
		default:
			e.skip()
		}
	}
	e.about.HasOS = true
	path := e.path + "os."
	var f failures
	tooLong(&f, path, "family", os.Family)
	for _, field := range []struct {
		at   int
		text string
	}{{osName, os.Name}, {osVersion, os.Version}} {
		if o.has(1 << field.at) {
			tooLong(&f, path, osFields.names[field.at], field.text)
		} else {
			f.required(path, osFields.names[field.at])
		}
	}
	e.os = f.String()
}

// readDatasources reads a map of numbers, in its order. Of equal names the
// last number counts, at the place of the first.
func (e *usageEntry) readDatasources() {
	e.about.DataSources = nil
	if e.null() {
		e.seen.note(false)
		return
	}
	e.seen.note(true)
	places := map[string]int{}
	for e.open('{', "map[string]int64"); e.field(); {
		place, known := places[string(e.name)]
		if !known {
			place = len(e.about.DataSources)
			name := e.texts.keep(e.name)
			places[name] = place
			e.about.DataSources = append(e.about.DataSources, engine.Count{Name: name})
		}
		e.optionalInt64(&e.about.DataSources[place].N)
	}
}

// readHubItems reads a map of lists, none of which may be null. The map is
// keyed by the kind of item; how many there may be is the engine's to bound.
func (e *usageEntry) readHubItems() {
	e.about.HubItems, e.hubItems = nil, ""
	if e.null() {
		e.seen.note(false)
		return
	}
	e.seen.note(true)
	e.about.HubItems = map[string][]engine.HubItem{}
	for e.open('{', "map[string][]HubItem"); e.field(); {
		kind := e.texts.keep(e.name)
		if e.null() {
			if e.hubItems == "" {
				e.hubItems = e.path + "hub_items." + kind + " in body is required"
			}
			continue
		}
		e.about.HubItems[kind] = e.hubList()
	}
}

// smallestHubItem is the shortest text of an item with its comma, {}, in bytes.
const smallestHubItem = 3

var hubFields = newFields("HubItem", "name", "status", "version")

// hubList reads the items of one kind. null among them says nothing and is left out.
func (e *usageEntry) hubList() []engine.HubItem {
	var list []engine.HubItem
	if e.emptyObject() {
		return nil
	}
	for e.open('[', "[]models.HubItem"); e.more(']'); {
		if e.null() {
			continue
		}
		var item engine.HubItem
		o := newObject(&hubFields)
		for e.open('{', "models.HubItem"); e.fieldOf(&o); {
			switch o.at {
			case 0:
				e.optionalString(&item.Name)
			case 1:
				e.optionalString(&item.Status)
			case 2:
				e.optionalString(&item.Version)
			default:
				e.skip()
			}
		}
		list = append(grown(list, e.rest(), smallestHubItem), item)
	}
	return list
}
