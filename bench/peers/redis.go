//go:build linux

package peers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"lapid/bench/corpus"
)

// NewRedis starts Redis as Debian builds it, with one thread and without files, and loads the
// hosts of a set: each address with the text a live query answers. Ranges
// are left out, for it has no way to find them by an address in them.
func (y *Yard) NewRedis(ctx context.Context, set *corpus.Set) (*Server, error) {
	address, err := free()
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(address, ":")
	s, err := y.start("redis", address, nil, "redis-server", "--bind", "127.0.0.1", "--port", port,
		"--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", y.Dir, "--maxclients", "12000", "--io-threads", "1")
	if err != nil {
		return nil, err
	}
	if err := s.await(ctx, s.connects); err != nil {
		return nil, err
	}
	return s, s.fill(ctx, set)
}

// fill sends all commands without waiting for answers, and counts the answers.
func (s *Server) fill(ctx context.Context, set *corpus.Set) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	sent := make(chan error, 1)
	go func() {
		err := corpus.WriteRedis(c, set.All())
		if err == nil {
			_, err = io.WriteString(c, "PING\r\n")
		}
		if err != nil {
			_ = c.Close() // or the answers are waited for
		}
		sent <- err
	}()
	answers := bufio.NewReaderSize(c, 1<<16)
	for {
		line, err := answers.ReadSlice('\n')
		switch {
		case err != nil:
			return errors.Join(<-sent, err)
		case string(line) == "+PONG\r\n":
			return <-sent
		case string(line) != "+OK\r\n":
			_ = c.Close()
			return errors.Join(<-sent, fmt.Errorf("redis says %q", line))
		}
	}
}
