package transport

var upAnswer = []byte(`{"status":"up"}`)

// isUp says that the server answers.
func isUp(x *exchange) error {
	x.shared(jsonType, upAnswer)
	x.answer.SetHeader("Cache-Control", "no-cache")
	x.answer.SetHeader("Pragma", "no-cache")
	x.answer.SetHeader("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")
	return nil
}
