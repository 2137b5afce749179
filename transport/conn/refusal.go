package conn

import "github.com/valyala/fasthttp"

// Refusal is why a request is not answered as one, or why its body is not read: an
// answer of a status with a text, or of no body without one.
type Refusal struct {
	Status int
	Text   string
}

func (r *Refusal) Error() string { return r.Text }

// Texts that tell clients what is wrong with what they send.
const (
	TextNoHTTP   = "this is no request of HTTP/1.1 or HTTP/1.0"
	TextVersion  = "HTTP/1.1 and HTTP/1.0 are spoken here and no other version: have the client send HTTP/1.1"
	TextBadHead  = "the head of the request cannot be read: it needs a path or an http URL, one Host, and lines of a name, a colon right behind it, and a value"
	TextTwoWays  = "the request can be read in more than one way: send one Content-Length in digits, or Transfer-Encoding: chunked, and no folded header lines"
	TextBareLF   = "the lines of a request with a body must end in CRLF, not in LF alone"
	TextCut      = "the connection ended within the head of a request"
	TextTimeout  = "the request did not come in time"
	TextNoBody   = "nothing of the request's body came in time: send it again"
	TextCutBody  = "the connection ended before the request's body"
	TextNoMemory = "too many large requests at once"
)

// Why a first line is refused: it is none, or one of a version that we do not speak.
var (
	errNoHTTP  = &Refusal{fasthttp.StatusBadRequest, TextNoHTTP}
	errVersion = &Refusal{fasthttp.StatusHTTPVersionNotSupported, TextVersion}
)
