package wire

import "strconv"

// The texts of these errors are those that clients know from the reference
// server, which shows what its decoder says.

// fail notes the first error, and ends every loop.
func (r *reader) fail(text string) {
	if r.err == nil {
		r.err = &Error{Kind: KindSyntax, Text: text}
	}
	r.at = len(r.data) // so that nothing more is found
}

// What is said of a body that is over too early.
const (
	nothingThere = "EOF"
	tooShort     = "unexpected EOF"
)

// ended says that the body is over too early.
func (r *reader) ended() {
	if r.err != nil {
		return
	}
	if r.depth == 0 && r.blank() {
		r.fail(nothingThere)
		return
	}
	r.fail(tooShort)
}

// Settled reports whether the beginning of a body decides what is read of it:
// the first JSON value ends there, or cannot be read. What follows does not
// matter then.
func Settled(beginning []byte) bool {
	r := reader{data: beginning}
	r.skip()
	return r.err == nil || (r.err.Text != nothingThere && r.err.Text != tooShort)
}

// blank reports whether there is nothing but white space in the body.
func (r *reader) blank() bool {
	for _, c := range r.data {
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return false
		}
	}
	return true
}

// unexpected says that the next byte cannot stand where it stands.
func (r *reader) unexpected(where string) {
	if r.err != nil {
		return
	}
	if r.at >= len(r.data) {
		r.ended()
		return
	}
	r.fail("invalid character " + quoted(r.data[r.at]) + " " + where)
}

// wrong says that the next value is not of the kind that belongs here. The
// value is read to its end first, for a fault in its syntax is told instead.
func (r *reader) wrong(want string) {
	found := ""
	switch c := r.peek(); c {
	case '{':
		found = "object"
	case '[':
		found = "array"
	case '"':
		found = "string"
	case 't', 'f':
		found = "bool"
	case 'n':
		found = "null"
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		found = "number"
	default:
		r.unexpected("looking for beginning of value")
		return
	}
	if r.skip(); r.err == nil { // bad syntax is the graver error
		r.mismatch(found, want)
	}
}

// outOfRange says that a number does not fit into its type, with the beginning of its
// digits.
func (r *reader) outOfRange(digits []byte, want string) {
	const most = 40 // of a number's digits are worth repeating
	r.mismatch("number "+string(digits[:min(len(digits), most)]), want)
}

// mismatch names the field that was being read by the reference's names for its
// types.
func (r *reader) mismatch(found, want string) {
	place := "Go value"
	if r.fields != nil && r.place >= 0 {
		place = "Go struct field " + r.fields.owner + "." + r.fields.names[r.place]
	}
	r.fail("json: cannot unmarshal " + found + " into " + place + " of type " + want)
}

// quoted is a byte as Go writes a character.
func quoted(c byte) string {
	switch c {
	case '\'':
		return `'\''`
	case '"':
		return `'"'`
	}
	s := strconv.Quote(string(rune(c)))
	return "'" + s[1:len(s)-1] + "'"
}
