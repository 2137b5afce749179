package program

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"lapid/cmd/lapid/backups"
	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/movein"
	notifications "lapid/transport/notify"
)

// condition is where a program stands between its start and its end, and what is
// wrong with its engine. Any goroutine may ask; none waits for the committer.
type condition struct {
	phase   atomic.Pointer[engine.Trouble] // starting or stopping; nil: serving
	engine  atomic.Pointer[engine.Engine]  // nil: not open yet
	metrics atomic.Pointer[http.Handler]   // nil: nothing to measure yet

	central func() *engine.Trouble                 // with the Central API; nil: not known yet
	teller  atomic.Pointer[notifications.Notifier] // nil: none yet
	arrival atomic.Pointer[movein.Arrival]         // nil: none yet
	backups atomic.Pointer[backups.Keeper]         // nil: none are made
	cluster atomic.Pointer[cluster]                // nil: no node, or not there yet
	relay   atomic.Pointer[relay]                  // nil: no relay, or not there yet
}

// starting says what the start is doing.
func (c *condition) starting(doing string) { c.enter(engine.TroubleStarting, doing) }

// serving: everything is open. An end that has begun meanwhile counts more.
func (c *condition) serving() {
	if p := c.phase.Load(); p != nil && p.Kind == engine.TroubleStarting {
		c.phase.CompareAndSwap(p, nil)
	}
}

// stopping: what is under way is brought to its end, nothing new is taken.
func (c *condition) stopping() {
	c.enter(engine.TroubleStopping, "the server is ending: it answers what is under way and takes nothing new")
}

// enter begins a phase, or says another sentence of the one that is; it has begun
// when its first sentence came.
func (c *condition) enter(kind engine.TroubleKind, text string) {
	since := time.Now().UnixNano()
	if before := c.phase.Load(); before != nil && before.Kind == kind {
		since = before.Since
	}
	c.phase.Store(&engine.Trouble{Kind: kind, Text: text, Since: since})
}

// troubles is why the program should not be called ready, in order of the kinds;
// empty when it should.
func (c *condition) troubles() []engine.Trouble {
	var list []engine.Trouble
	if e := c.engine.Load(); e != nil {
		list = e.Troubles()
	}
	add := func(t *engine.Trouble) {
		if t != nil {
			at, _ := slices.BinarySearchFunc(list, t.Kind, func(t engine.Trouble, k engine.TroubleKind) int { return strings.Compare(string(t.Kind), string(k)) })
			list = slices.Insert(list, at, *t)
		}
	}
	if a := c.arrival.Load(); a != nil {
		add(a.Trouble())
	}
	if n := c.teller.Load(); n != nil {
		add(n.Trouble())
	}
	if k := c.backups.Load(); k != nil {
		add(k.Trouble())
	}
	if n := c.cluster.Load(); n != nil {
		add(n.trouble())
		add(n.aside())
	}
	if r := c.relay.Load(); r != nil {
		add(r.trouble())
	}
	if c.central != nil {
		add(c.central())
	}
	if p := c.phase.Load(); p != nil {
		list = append(list, *p) // the two words are the last of all
	}
	return list
}

// stuck is the trouble with a program that only a restart may help; nil when it is
// alive. A disk that refuses, a full one, is none: the committer answers.
func (c *condition) stuck() *engine.Trouble {
	list := c.troubles()
	at := slices.IndexFunc(list, func(t engine.Trouble) bool { return t.Kind == engine.TroubleCommitter })
	if at < 0 {
		return nil
	}
	return &list[at]
}

// handler answers on the metrics listener. /live: 200 unless a restart is the only
// help; /ready: 200, or 503, with every reason. The rest is there once the listeners
// are.
func (c *condition) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) {
		var list []engine.Trouble
		if t := c.stuck(); t != nil {
			list = append(list, *t)
		}
		r := admin.ReportOf(list)
		sayCondition(w, r.Ready, struct {
			Live    bool           `json:"live"`
			Reasons []admin.Reason `json:"reasons"`
		}{r.Ready, r.Reasons})
	})
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		r := admin.ReportOf(c.troubles())
		sayCondition(w, r.Ready, r)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if h := c.metrics.Load(); h != nil {
			(*h).ServeHTTP(w, r)
			return
		}
		http.Error(w, "the server is starting: /ready says more", http.StatusServiceUnavailable)
	})
	return mux
}

// sayCondition answers 200 or 503, never from a cache: a probe that reads an old
// answer is worse than none.
func sayCondition(w http.ResponseWriter, good bool, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !good {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(v) // the asker has gone away
}
