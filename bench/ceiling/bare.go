//go:build linux

package main

import (
	"bytes"
	"fmt"
	"net"
	"runtime"

	"golang.org/x/sys/unix"
)

// bare answers every GET with "null" from epoll loops, one for each CPU, each with its
// own listening socket: hardly more than the kernel's part of the work. It shows what a
// load generator can ask, and what is lost in an HTTP library. Requests have to
// come whole and one by one.
func bare(listen string) error {
	address, err := net.ResolveTCPAddr("tcp4", listen)
	if err != nil {
		return err
	}
	ended := make(chan error)
	for range runtime.GOMAXPROCS(0) {
		go func() {
			runtime.LockOSThread()
			ended <- bareLoop(&unix.SockaddrInet4{Port: address.Port, Addr: [4]byte(address.IP.To4())})
		}()
	}
	return <-ended
}

// bareLoop is one of the loops. It returns only when the kernel refuses something
// that it must have.
func bareLoop(address *unix.SockaddrInet4) error {
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	for _, option := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
		if err := unix.SetsockoptInt(listener, unix.SOL_SOCKET, option, 1); err != nil {
			return fmt.Errorf("socket option: %w", err)
		}
	}
	if err := unix.Bind(listener, address); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(listener, 1024); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	if err := attend(poll, listener); err != nil {
		return err
	}
	b := bareServer{poll: poll, listener: listener, buffer: make([]byte, 16<<10)}
	events := make([]unix.EpollEvent, 512)
	for {
		n, err := unix.EpollWait(poll, events, -1)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("epoll: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			b.serve(int(e.Fd))
		}
	}
}

// attend has the loop hear of a socket.
func attend(poll, fd int) error {
	return unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

var bareAnswer = []byte("HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n" +
	"Content-Type: application/json; charset=utf-8\r\nContent-Length: 4\r\n\r\nnull")

type bareServer struct {
	poll, listener int
	buffer         []byte
}

// serve takes a connection or answers a request. Whatever goes wrong ends the
// connection.
func (b *bareServer) serve(fd int) {
	if fd == b.listener {
		c, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return // it went away again
		}
		_ = unix.SetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // refused: only slower
		if attend(b.poll, c) != nil {
			_ = unix.Close(c)
		}
		return
	}
	n, err := unix.Read(fd, b.buffer)
	if err == unix.EAGAIN {
		return
	}
	if n > 0 && bytes.HasSuffix(b.buffer[:n], []byte("\r\n\r\n")) {
		if n, _ := unix.Write(fd, bareAnswer); n == len(bareAnswer) {
			return
		}
	}
	_ = unix.Close(fd)
}
