package export

import "encoding/json"

// appendJSON writes a text as a JSON string of ASCII-safe content.
func appendJSON(dst []byte, s string) []byte {
	text, err := json.Marshal(s) // a string always can be; what is no UTF-8 is replaced
	if err != nil {
		return append(dst, `""`...)
	}
	return append(dst, text...)
}
