package conn

// chunking follows a body in chunks as it comes by, to know where it ends. It
// reads them as strictly as the HTTP library does behind it, and what it takes for
// broken goes no further than to the byte that is.
type chunking struct {
	at     chunkPart
	left   int64 // of the chunk; while its size is read, that
	digits int   // of the size
	line   int   // how long the line of a trailer is
}

type chunkPart uint8

const (
	chunkSize chunkPart = iota
	chunkBlank
	chunkExtension
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	trailerLine
	trailerLF
	chunksEnd    // the body has ended
	chunksEndCR  // it has, and the last line has an LF alone, which was not walked over
	chunksBroken // the last byte cannot be there
)

// mostDigits are as many as the HTTP library reads of a size.
const mostDigits = 15

// walk goes over the next bytes until the body ends or breaks, and says how far it
// came. It is not called after either.
func (c *chunking) walk(in []byte) (n int) {
	for n < len(in) && c.at < chunksEnd {
		if c.at == chunkData {
			part := min(c.left, int64(len(in)-n))
			n += int(part)
			if c.left -= part; c.left == 0 {
				c.at = chunkDataCR
			}
			continue
		}
		if c.at = c.step(in[n]); c.at == chunksEndCR {
			return n
		}
		n++
	}
	return n
}

// step is for one byte that is not data.
func (c *chunking) step(b byte) chunkPart {
	switch c.at {
	case chunkSize:
		return c.size(b)
	case chunkBlank, chunkExtension:
		return c.extension(b)
	case chunkSizeLF:
		return c.sizeEnd(b)
	case chunkDataCR:
		return when(b == '\r', chunkDataLF)
	case chunkDataLF:
		c.left, c.digits = 0, 0
		return when(b == '\n', chunkSize)
	case trailerLF:
		if c.line == 0 {
			return when(b == '\n', chunksEnd)
		}
		c.line = 0
		return when(b == '\n', trailerLine)
	}
	return c.trailer(b)
}

func (c *chunking) size(b byte) chunkPart {
	value := int64(0)
	switch lower := b | 0x20; {
	case b >= '0' && b <= '9':
		value = int64(b - '0')
	case lower >= 'a' && lower <= 'f':
		value = int64(lower-'a') + 10
	case c.digits > 0:
		return c.extension(b)
	default:
		return chunksBroken
	}
	c.left = c.left<<4 | value
	c.digits++
	return when(c.digits <= mostDigits, chunkSize)
}

// extension is what may stand behind a size: blanks, or a semicolon and anything.
func (c *chunking) extension(b byte) chunkPart {
	switch {
	case b == '\r':
		return chunkSizeLF
	case b == '\n':
		return chunksBroken
	case c.at == chunkExtension, c.at == chunkSize && b == ';':
		return chunkExtension
	}
	return when(b == ' ' || b == '\t', chunkBlank)
}

func (c *chunking) sizeEnd(b byte) chunkPart {
	switch {
	case b != '\n':
		return chunksBroken
	case c.left > 0:
		return chunkData
	}
	c.line = 0
	return trailerLine
}

// trailer is for the lines behind the last chunk, of which the empty one is the
// end.
func (c *chunking) trailer(b byte) chunkPart {
	switch {
	case b == '\r':
		return trailerLF
	case b == '\n' && c.line == 0:
		return chunksEndCR
	case b == '\n':
		return chunksBroken
	}
	c.line++
	return trailerLine
}

func when(good bool, next chunkPart) chunkPart {
	if good {
		return next
	}
	return chunksBroken
}
