package transport

// Traffic is what was counted of bouncers' requests since the start: live queries, those of them that found a
// decision, and polls of the stream. What was counted for bouncers that are gone may be missing. It walks the
// counters of bouncers, of which there are some ten thousand at most, and costs requests nothing. Any goroutine.
func (s *Server) Traffic() (live, hits, pulls uint64) {
	s.counting.bouncers.each(rowName, func(_ string, v *visitor) {
		found := v.found.Load()
		live, hits = live+found+v.missed.Load(), hits+found
	})
	for _, line := range s.routes.lines {
		if line.method == "GET" && line.path == "/v1/decisions/stream" {
			counts, nanos := s.counting.snapshot(line.number)
			pulls += (&latencies{counts: counts, nanos: nanos}).total()
		}
	}
	return live, hits, pulls
}
