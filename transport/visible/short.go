package visible

import "strconv"

// LongestInLog is how much of one text a line of a log holds, in bytes: a client
// decides how long many of them are, and a line must not grow with its request.
const LongestInLog = 4 << 10

// Short is s as it is, or its beginning and how long it is when it has more than
// LongestInLog bytes. What is cut may end within a character, which Text shows.
func Short(s string) string {
	if len(s) <= LongestInLog {
		return s
	}
	return s[:LongestInLog] + "… (" + strconv.Itoa(len(s)) + " bytes)"
}
