//go:build linux

package load

import "strconv"

// Fixed asks the same again and again.
func Fixed(request []byte) Sources {
	return func(int, int) Source { return fixed(request) }
}

type fixed []byte

func (f fixed) Next(dst []byte, _ int) []byte { return append(dst, f...) }

// PerConnection asks on each connection what make gives for its number. The
// requests are made when a run begins and kept.
func PerConnection(connections int, request func(dst []byte, connection int) []byte) Sources {
	list := make(perConnection, connections)
	for i := range list {
		list[i] = request(nil, i)
	}
	return func(int, int) Source { return list }
}

type perConnection [][]byte

func (p perConnection) Next(dst []byte, connection int) []byte { return append(dst, p[connection]...) }

// Words is a list of texts to put into requests. corpus.Table is one.
type Words interface {
	Len() int
	At(i int) []byte
}

// Filled asks head, a word, tail. Each thread goes through all words, from a place
// of its own. With several tails each connection has one: the keys of several
// bouncers.
func Filled(head string, words Words, tails ...string) Sources {
	return func(i, n int) Source {
		return &filled{head: head, tails: tails, words: words, at: words.Len() / n * i}
	}
}

type filled struct {
	head  string
	tails []string
	words Words
	at    int
}

func (f *filled) Next(dst []byte, connection int) []byte {
	word := f.words.At(f.at)
	if f.at++; f.at == f.words.Len() {
		f.at = 0
	}
	return append(append(append(dst, f.head...), word...), f.tails[connection%len(f.tails)]...)
}

// Gets asks a Redis server for keys.
func Gets(words Words) Sources {
	return func(i, n int) Source { return &gets{words: words, at: words.Len() / n * i} }
}

type gets struct {
	words Words
	at    int
}

func (g *gets) Next(dst []byte, _ int) []byte {
	word := g.words.At(g.at)
	if g.at++; g.at == g.words.Len() {
		g.at = 0
	}
	dst = append(dst, "*2\r\n$3\r\nGET\r\n$"...)
	dst = strconv.AppendInt(dst, int64(len(word)), 10)
	return append(append(append(dst, "\r\n"...), word...), "\r\n"...)
}

// Tail gives what follows the path of a GET: version, the host, a bouncer's key
// if it is not empty, and the end of the head.
func Tail(key string) string {
	tail := " HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench/1\r\n"
	if key != "" {
		tail += "X-Api-Key: " + key + "\r\n"
	}
	return tail + "\r\n"
}
