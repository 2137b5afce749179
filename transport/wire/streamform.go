package wire

import "bytes"

// StreamForm is the query string of a poll taken apart: what is asked, and from where on.
type StreamForm struct {
	// Question is the string without what says from where on and how long to wait: that of
	// all who ask the same.
	// It is what was taken apart where nothing was left out.
	Question []byte
	// Print is the question's fingerprint, startup aside. It is the same in every process
	// and on every machine, and other for the same parameters in another order.
	Print uint64
	// After is the decoded first value of after; it counts only with HasAfter.
	After    []byte
	HasAfter bool
	// Wait is the decoded first value of wait; it counts only with HasWait.
	Wait    []byte
	HasWait bool
}

// Read takes a query string apart, which is borrowed. It allocates only where something
// was escaped or left out.
func (s *StreamForm) Read(raw []byte) {
	*s = StreamForm{Question: raw, Print: printStart}
	whole := true
	for rest := raw; len(rest) > 0; {
		pair, more, _ := bytes.Cut(rest, []byte{'&'})
		var f form
		switch good := len(pair) > 0 && f.take(pair); {
		case good && s.place(&f):
			if whole {
				whole, s.Question = false, bytes.Clone(raw[:len(raw)-len(rest)])
			}
		case !whole:
			s.Question = append(append(s.Question, pair...), '&')
			fallthrough
		default:
			if good && string(f.name) != "startup" {
				s.print(pair)
			}
		}
		rest = more
	}
}

// place takes a pair that says from where on, or how long to wait.
func (s *StreamForm) place(f *form) bool {
	switch string(f.name) {
	case "after":
		if !s.HasAfter {
			s.After, s.HasAfter = f.value(), true
		}
	case "wait":
		if !s.HasWait {
			s.Wait, s.HasWait = f.value(), true
		}
	default:
		return false
	}
	return true
}

// The fingerprint is FNV-1a in 64 bits, of every pair with a mark behind it.
const (
	printStart = 14695981039346656037
	printPrime = 1099511628211
)

func (s *StreamForm) print(pair []byte) {
	for _, c := range pair {
		s.Print = (s.Print ^ uint64(c)) * printPrime
	}
	s.Print = (s.Print ^ '&') * printPrime
}
