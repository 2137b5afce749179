package conn

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fasthttp/router"
	"github.com/valyala/fasthttp"

	"lapid/transport/budget"
)

// core is what connections and requests of a Front have in common.
type core struct {
	Limits
	owner Owner
	log   *slog.Logger
	loops int
	// secureAlone: connections over TLS are not for them.
	secureAlone bool
	now         func() int64 // Unix nanoseconds

	router *router.Router // by Options.Routes; set once

	// life ends when requests must not wait any longer.
	life context.Context
	end  context.CancelFunc

	clock    atomic.Pointer[time.Time] // to the second, while running
	open     openConns
	stopping atomic.Bool
	going    atomic.Int64 // answers without an end that have a goroutine

	memory memory
	drains sync.Pool // of *[drainStep]byte

	library func(class int) *fasthttp.Server // the HTTP library for heads of a class
}

// strangersAt is whose bodies count together before anybody has shown who he is.
func (f *core) strangersAt(client netip.Addr) budget.Holder {
	return budget.Holder{Place: f.owner.PlaceOf(client)}
}
