package shadow

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Metrics adds the shadow's figures to those of another handler, at /metrics, in Prometheus' text format. That handler is
// asked for plain text, which two can write one after the other.
func (s *Shadow) Metrics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			next.ServeHTTP(w, r)
			return
		}
		r = r.Clone(r.Context())
		r.Header.Del("Accept-Encoding")
		r.Header.Set("Accept", "text/plain;version=0.0.4")
		next.ServeHTTP(w, r)
		if r.Method == http.MethodGet {
			s.Report().write(w)
		}
	})
}

// write writes the figures. Names of routes and reasons are the shadow's own words.
func (r *Report) write(w io.Writer) {
	one := func(name, kind, help string, value int64) {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s %d\n", name, help, name, kind, name, value)
	}
	void := int64(0)
	if r.Void != "" {
		void = 1
	}
	ours := int64(0)
	if r.Answer == Ours.String() {
		ours = 1
	}
	one("lapid_shadow_void", "gauge", "1 when the comparison is void.", void)
	one("lapid_shadow_answered_by_lapid", "gauge", "1 when lapid answers, all or some bouncers.", ours)
	one("lapid_shadow_waiting_requests", "gauge", "Requests that wait for the second server.", int64(r.Waiting))
	one("lapid_shadow_waiting_bytes", "gauge", "Bytes of their bodies and answers.", r.Bytes)
	one("lapid_shadow_lost_writes_total", "counter", "Requests that change something and did not reach the second server.", r.LostCount)
	one("lapid_shadow_connections_refused_total", "counter", "Connections beyond the bound.", r.Refused)
	one("lapid_shadow_bodies_aborted_total", "counter", "Requests whose body never came whole.", r.Aborted)
	r.writeRoutes(w)
}

// family is one family of series by route.
type family struct {
	name, help string
	value      func(*RouteReport) int64
}

var families = []family{
	{"requests", "Requests that the first server answered.", func(r *RouteReport) int64 { return r.Requests }},
	{"equal", "Comparisons without a difference.", func(r *RouteReport) int64 { return r.Equal }},
	{"unexplained", "Comparisons with a difference that nothing explains.", func(r *RouteReport) int64 { return r.Unexplained }},
	{"dropped", "Requests that did not reach the second server.", func(r *RouteReport) int64 { return r.Dropped }},
	{"unanswered", "Requests that the first server did not answer.", func(r *RouteReport) int64 { return r.Unanswered }},
}

func (r *Report) writeRoutes(w io.Writer) {
	for _, f := range families {
		name := "lapid_shadow_" + f.name + "_total"
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s counter\n", name, f.help, name)
		for i := range r.Routes {
			fmt.Fprintf(w, "%s{route=%s} %d\n", name, label(r.Routes[i].Route), f.value(&r.Routes[i]))
		}
	}
	for _, f := range []struct {
		name, help string
		of         func(*RouteReport) map[string]int64
	}{
		{"lapid_shadow_explained_total", "Comparisons with a difference that is right so.", func(r *RouteReport) map[string]int64 { return r.Reasons }},
		{"lapid_shadow_skipped_total", "Requests that the second server was not asked.", func(r *RouteReport) map[string]int64 { return r.Skipped }},
	} {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s counter\n", f.name, f.help, f.name)
		for i := range r.Routes {
			for why, n := range f.of(&r.Routes[i]) {
				fmt.Fprintf(w, "%s{route=%s,reason=%s} %d\n", f.name, label(r.Routes[i].Route), label(why), n)
			}
		}
	}
	const took = "lapid_shadow_answer_seconds"
	fmt.Fprintf(w, "# HELP %s How long the two servers took.\n# TYPE %s summary\n", took, took)
	for i := range r.Routes {
		for side, t := range map[Side]Took{Theirs: r.Routes[i].Theirs, Ours: r.Routes[i].Ours} {
			at := fmt.Sprintf("route=%s,server=%q", label(r.Routes[i].Route), side)
			fmt.Fprintf(w, "%s{%s,quantile=\"0.5\"} %g\n%s{%s,quantile=\"0.99\"} %g\n", took, at, t.Median, took, at, t.P99)
			fmt.Fprintf(w, "%s_sum{%s} %g\n%s_count{%s} %d\n", took, at, t.Sum, took, at, t.Count)
		}
	}
}

// label is a value of a label, in quotes.
func label(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
}
