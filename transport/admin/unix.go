package admin

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// maxSocketPath is how long a socket's path may be for the kernel, without the
// byte that ends it.
const maxSocketPath = 107

// listenUnix listens on a path of any length. The file is not removed when the
// listener is closed; that is the server's business.
func listenUnix(path string) (net.Listener, error) {
	var l *net.UnixListener
	err := reach(path, func(short string) (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	return l, nil
}

// dialUnix connects to a path of any length.
func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	var c net.Conn
	err := reach(path, func(short string) (err error) {
		c, err = new(net.Dialer).DialContext(ctx, "unix", short)
		return err
	})
	return c, err
}

// reach calls use with a path that is short enough for the kernel: the path
// itself, or the same file seen through an open handle of its folder.
func reach(path string, use func(short string) error) error {
	if len(path) <= maxSocketPath {
		return use(path)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	short := fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), filepath.Base(path))
	if _, err := os.Stat(filepath.Dir(short)); err != nil || len(short) > maxSocketPath {
		return fmt.Errorf("the path is longer than %d bytes: set admin_socket to a shorter one", maxSocketPath)
	}
	return use(short)
}
