//go:build linux

package peers

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Console is the operators' side of a running lapid over HTTP.
type Console struct {
	address string
	tokens  []string // of its operators
}

// OpenConsole starts a lapid anew with its console, which so many viewers may enter.
func (l *LAPI) OpenConsole(ctx context.Context, operators int) (*Console, error) {
	address, err := free()
	if err != nil {
		return nil, err
	}
	c := &Console{address: address}
	l.Stop()
	l.Env = []string{"LAPID_CONSOLE_LISTEN=" + address}
	if _, err := l.Start(ctx); err != nil {
		return nil, err
	}
	for i := range operators {
		name := fmt.Sprint("viewer", i)
		if err := l.CLI(ctx, "operators", "add", name, "--role", "viewer", "-p", fmt.Sprint(password, name)); err != nil {
			return nil, err
		}
		text, err := l.Said(ctx, "operators", "token", name, "-o", "raw")
		if err != nil {
			return nil, err
		}
		words := strings.Fields(text)
		if len(words) == 0 {
			return nil, fmt.Errorf("operators token %s printed nothing", name)
		}
		c.tokens = append(c.tokens, words[len(words)-1])
	}
	return c, nil
}

// Get asks as one of the operators. It ends with ctx; the caller reads and closes what comes.
func (c *Console) Get(ctx context.Context, operator int, path string) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.address+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.tokens[operator%len(c.tokens)])
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	if w.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(w.Body, 500))
		_ = w.Body.Close()
		return nil, fmt.Errorf("%s: status %d: %s", path, w.StatusCode, text)
	}
	return w.Body, nil
}
