package admin

import (
	"context"
	"io"
	"net/http"
)

// backup streams a backup. One that fails after it has begun is cut off, so that
// it has no end mark and is never restored.
func (h *Handler) backup(w http.ResponseWriter, r *http.Request) {
	out := &began{ResponseWriter: w}
	rev, size, err := h.engine.Backup(r.Context(), out)
	switch {
	case err == nil:
		h.logChange(r.Context(), "wrote a backup", "revision", uint64(rev), "bytes", size)
	case out.any:
		h.log.Error("a backup was cut off", "error", err)
		panic(http.ErrAbortHandler)
	default:
		fail(w, err)
	}
}

// began knows whether anything was written.
type began struct {
	http.ResponseWriter
	any bool
}

// Write passes on.
func (b *began) Write(p []byte) (int, error) {
	b.any = true
	return b.ResponseWriter.Write(p)
}

// Backup asks for a backup of the whole store as it is at one moment. The caller
// closes it. It was cut off if it has no end mark: persist.Verify tells.
func (c *Client) Backup(ctx context.Context) (io.ReadCloser, error) {
	return c.post(ctx, "/backup", struct{}{})
}
