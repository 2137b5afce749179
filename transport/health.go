package transport

var upAnswer = []byte(`{"status":"up"}`)

// health says that the server answers.
func (s *Server) health(x *exchange) error {
	x.shared(jsonType, upAnswer)
	x.answer.SetHeader("Cache-Control", "no-cache")
	x.answer.SetHeader("Pragma", "no-cache")
	x.answer.SetHeader("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")
	return nil
}
