package wire

import (
	"fmt"
	"strconv"
)

// maxDepth bounds how deep lists and objects may be nested, so that a body
// cannot run away with the stack.
const maxDepth = 1000

// reader walks one JSON value from left to right without building anything.
// Lists and objects are loops:
//
//	for r.open('[', "[]string"); r.more(']'); { … one value … }
//	for r.open('{', "models.Alert"); r.field(); { … look at r.name, one value … }
//
// The first error stays, and from then on every call is idle and every loop
// ends, so it is looked at once, at the end.
type reader struct {
	data []byte // the body; borrowed
	at   int    // the next byte

	depth int  // lists and objects that are open
	fresh bool // the innermost of them has not given anything yet
	err   *Error

	name    []byte  // of the current field; good until the next string is read
	fields  *fields // of the last object that had one of them,
	place   int     // and its place, for the texts of errors
	scratch []byte  // a string that had to be unescaped
	texts   texts   // strings that outlive the body
}

// peek gives the next byte that is not blank, without moving past it; 0 when
// there is none, or after an error.
func (r *reader) peek() byte {
	if r.at < len(r.data) && r.data[r.at] > ' ' {
		return r.data[r.at]
	}
	return r.peekOn()
}

// peekOn is the rare part of peek: blanks, the end, and what an error leaves.
func (r *reader) peekOn() byte {
	for r.at < len(r.data) {
		switch c := r.data[r.at]; c {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return c
		}
	}
	r.ended()
	return 0
}

// open enters a list or an object. want names in an error what should have
// been here.
func (r *reader) open(bracket byte, want string) {
	if !r.next(bracket) && r.peek() != bracket {
		r.wrong(want)
		return
	}
	if r.depth++; r.depth > maxDepth {
		r.fail("exceeded max depth")
		return
	}
	r.at++
	r.fresh = true
}

// more moves to the next element of a list, or past its end.
func (r *reader) more(bracket byte) bool {
	if r.next(',') && !r.fresh {
		r.at++
		return true
	}
	return r.moreOn(bracket)
}

// next reports whether a byte comes next, without blanks before it: most
// bodies have none, and this is cheaper than peek.
func (r *reader) next(c byte) bool { return r.at < len(r.data) && r.data[r.at] == c }

// moreOn is the rarer part of more: blanks, the first element, the end, and
// errors.
func (r *reader) moreOn(bracket byte) bool {
	c, fresh := r.peek(), r.fresh
	r.fresh = false
	switch {
	case r.err != nil:
		return false
	case c == bracket:
		r.at++
		r.depth--
		return false
	case fresh:
		return true
	case c == ',':
		r.at++
		return true
	case bracket == '}':
		r.unexpected("after object key:value pair")
	default:
		r.unexpected("after array element")
	}
	return false
}

// field moves to the next field of an object and reads its name, or moves past
// the object's end.
func (r *reader) field() bool { return r.more('}') && r.fieldName() }

// fieldName reads the name of a field with its colon.
func (r *reader) fieldName() bool {
	if r.peek() != '"' {
		r.unexpected("looking for beginning of object key string")
		return false
	}
	r.name = r.text()
	if r.peek() != ':' {
		r.unexpected("after object key")
		return false
	}
	r.at++
	return true
}

// likelyFields is how many fields may come next in an object that is written
// in alphabetical order, with some left out.
const likelyFields = 4

// fieldOf is field for an object whose fields are known: o.at becomes the
// field's place among them, -1 for an unknown one. Nearly all clients write
// fields in alphabetical order, so the next ones are tried before a name is
// read as what it is, a string.
func (r *reader) fieldOf(o *object) bool {
	if !r.more('}') {
		return false
	}
	for next := o.at + 1; next < min(len(o.fields.written), o.at+1+likelyFields); next++ {
		name := o.fields.written[next]
		if end := r.at + len(name); end <= len(r.data) && string(r.data[r.at:end]) == name {
			r.at, o.at = end, next
			r.fields, r.place = o.fields, next
			return true
		}
	}
	if !r.fieldName() {
		return false
	}
	o.at = o.fields.names.findFold(r.name, o.at+1)
	r.fields, r.place = o.fields, o.at
	return true
}

// rest is how many bytes are left.
func (r *reader) rest() int { return len(r.data) - r.at }

// null moves past a null, if that is what comes next.
func (r *reader) null() bool { return r.peek() == 'n' && r.literal("null") }

// optionalString reads a string or null into dst, which null leaves alone, and
// reports whether there was a string. A text equal to what dst holds is not
// copied again.
func (r *reader) optionalString(dst *string) bool {
	b, ok := r.optionalText()
	if ok && *dst != string(b) {
		*dst = r.texts.keep(b)
	}
	return ok
}

// optionalText reads a string or null. The bytes are borrowed.
func (r *reader) optionalText() ([]byte, bool) {
	if r.next('"') || r.peek() == '"' {
		b := r.text()
		return b, r.err == nil
	}
	if !r.null() {
		r.wrong("string")
	}
	return nil, false
}

// optionalBool reads true, false or null.
func (r *reader) optionalBool(dst *bool) bool {
	switch r.peek() {
	case 't':
		*dst = true
		return r.literal("true")
	case 'f':
		*dst = false
		return r.literal("false")
	case 'n':
		r.literal("null")
		return false
	}
	r.wrong("bool")
	return false
}

// optionalInt32 reads a whole number of that size, or null.
func (r *reader) optionalInt32(dst *int32) bool {
	n := int64(*dst)
	given := r.whole(&n, 32, "int32")
	*dst = int32(n)
	return given
}

// optionalInt64 reads a whole number of that size, or null.
func (r *reader) optionalInt64(dst *int64) bool { return r.whole(dst, 64, "int64") }

// whole reads a whole number of so many bits. A fraction or an exponent is an error,
// even where the value is whole.
func (r *reader) whole(dst *int64, bits int, want string) bool {
	if r.null() || r.err != nil {
		return false
	}
	digits := r.number(want)
	if r.err != nil {
		return false
	}
	n, err := strconv.ParseInt(borrow(digits), 10, bits)
	if err != nil {
		r.outOfRange(digits, want)
		return false
	}
	*dst = n
	return true
}

// optionalFloat32 reads a number of that size, or null.
func (r *reader) optionalFloat32(dst *float32) {
	if r.null() || r.err != nil {
		return
	}
	digits := r.number("float32")
	if r.err != nil {
		return
	}
	f, err := strconv.ParseFloat(borrow(digits), 32)
	if err != nil {
		r.outOfRange(digits, "float32")
		return
	}
	*dst = float32(f)
}

// ignoredString and ignoredInt move past a value that is not used but must be of its
// kind, or null.
func (r *reader) ignoredString() { r.optionalText() }

func (r *reader) ignoredInt() {
	var n int64
	r.optionalInt64(&n)
}

// skip moves past one value of any kind.
func (r *reader) skip() {
	switch c := r.peek(); c {
	case '{':
		for r.open('{', ""); r.field(); {
			r.skip()
		}
	case '[':
		for r.open('[', ""); r.more(']'); {
			r.skip()
		}
	case '"':
		r.text()
	case 't':
		r.literal("true")
	case 'f':
		r.literal("false")
	case 'n':
		r.literal("null")
	default:
		if r.err == nil {
			r.number("")
		}
	}
}

// literal moves past one of the three words of JSON.
func (r *reader) literal(word string) bool {
	for i := range len(word) {
		if r.at >= len(r.data) {
			r.ended()
			return false
		}
		if r.data[r.at] != word[i] {
			r.unexpected(fmt.Sprintf("in literal %s (expecting %s)", word, quoted(word[i])))
			return false
		}
		r.at++
	}
	return true
}
