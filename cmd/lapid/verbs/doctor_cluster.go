package verbs

import (
	"context"
	"fmt"
	"time"

	"lapid/persist/stream"
)

// cluster looks at all that cluster status tells, and whether etcd keeps up with its disks. A server for itself, or a relay, has none.
func (v *visit) cluster(ctx context.Context) {
	const check = "cluster"
	if !v.setup.Own.Cluster.On() {
		return
	}
	s, err := clusterNow(ctx, v.t)
	if err != nil {
		v.broken(check, err.Error(), "lapid ready says more")
		return
	}
	slow, worst, syncs := false, time.Duration(0), false
	for i := range s.Members {
		m := &s.Members[i]
		if said := m.Ails(memberName(m)); said != "" {
			v.advise(check, said, "")
			slow = true
		}
		if m.Told() {
			worst, syncs = max(worst, m.P99), true
		}
	}
	for _, trouble := range s.Troubles {
		v.advise(check, trouble, "")
	}
	switch {
	case s.Writer.Node == "":
		v.broken(check, "no node writes", "lapid cluster status says more")
	case !slow && len(s.Troubles) == 0 && syncs:
		v.well(check, fmt.Sprintf("%s; of 100 syncs of etcd 99 take %v at most", clusterLine(s), worst.Round(100*time.Microsecond)))
	case !slow && len(s.Troubles) == 0:
		v.well(check, clusterLine(s)+"; how long etcd's syncs take is not told yet")
	}
}

// memberName is what a member of etcd is called.
func memberName(m *stream.Member) string {
	if m.Name == "" {
		return m.ID
	}
	return m.Name
}
