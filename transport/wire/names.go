package wire

import "bytes"

// words is a short list of names that are looked up by spelling.
type words []string

// find gives the place of a name in the list, or -1. Programs write names in
// the same order every time, so the search begins at hint, one past the last
// place found, and goes once around.
func (w words) find(name []byte, hint int) int {
	if uint(hint) >= uint(len(w)) {
		hint = 0
	}
	if w[hint] == string(name) {
		return hint
	}
	for i := hint + 1; i < len(w); i++ {
		if w[i] == string(name) {
			return i
		}
	}
	for i := range hint {
		if w[i] == string(name) {
			return i
		}
	}
	return -1
}

// findFold is find without regard to case, where an exact spelling goes first.
func (w words) findFold(name []byte, hint int) int {
	if i := w.find(name, hint); i >= 0 {
		return i
	}
	for i := range w {
		// Folding may change a letter's length by a byte or two, no more.
		if len(name) <= 3*len(w[i]) && bytes.EqualFold([]byte(w[i]), name) {
			return i
		}
	}
	return -1
}

// fields are the names an object may hold, in the order of the contract's list
// of missing ones.
type fields struct {
	owner   string // the kind of object, for the texts of errors
	names   words
	written words // the names as most programs write them, with the colon
}

// newFields makes the fields of one kind of object, once for the life of the program.
// There are 32 at most: one bit each.
func newFields(owner string, names ...string) fields {
	f := fields{owner: owner, names: names}
	for _, name := range names {
		f.written = append(f.written, `"`+name+`":`)
	}
	return f
}

// object is what was seen of one object so far.
type object struct {
	fields *fields
	at     int    // place of the current field, -1 for an unknown one
	seen   uint32 // one bit for each field that is there and not null
}

// newObject begins an object of which nothing was seen yet.
func newObject(f *fields) object { return object{fields: f, at: -1} }

// note records whether the current field has a value; the last of two equal
// names decides.
func (o *object) note(given bool) {
	if given {
		o.seen |= 1 << o.at
	} else {
		o.seen &^= 1 << o.at
	}
}

// has reports whether all of the fields in the mask are there.
func (o *object) has(required uint32) bool { return o.seen&required == required }

// missing lists the required fields that are not there, "" when all are.
func (o *object) missing(path string, required uint32) string {
	var f failures
	for i, name := range o.fields.names {
		if required&^o.seen&(1<<i) != 0 {
			f.required(path, name)
		}
	}
	return f.String()
}
