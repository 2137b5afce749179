package stream

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapid/persist/stream/member"
)

// endpoint of the one member of etcd that all tests of the package share, each below a prefix of its own.
var etcdURL string

// etcdData is where that has its data.
var etcdData string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "stream")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		etcdData = filepath.Join(dir, "data")
		file := filepath.Join(dir, "etcd.yaml")
		yaml := fmt.Sprintf("name: m\ndata-dir: %s\nlisten-client-urls: http://127.0.0.1:0\nadvertise-client-urls: http://127.0.0.1:0\n"+
			"listen-peer-urls: http://127.0.0.1:0\ninitial-advertise-peer-urls: http://127.0.0.1:0\ninitial-cluster: m=http://127.0.0.1:0\nunsafe-no-fsync: true\n",
			etcdData)
		if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
			panic(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		etcd, err := member.Start(ctx, file, slog.New(slog.DiscardHandler))
		if err != nil {
			panic(err)
		}
		defer etcd.Close()
		etcdURL = "http://" + etcd.Addrs()[0].String()
		return m.Run()
	}())
}

// rig is a prefix of a test, and its seal.
type rig struct {
	testing.TB
	prefix  string
	seal    Seal
	cluster ClusterID
	nodes   atomic.Int32
	etcd    func(*Options) // another than the one of the package; nil: that
}

var prefixes atomic.Int32

func newRig(t testing.TB) *rig {
	r := &rig{TB: t, prefix: fmt.Sprintf("/test/%d", prefixes.Add(1))}
	var err error
	if r.seal, err = ParseSeal([]byte(NewSealLine())); err != nil {
		t.Fatal(err)
	}
	_, _ = rand.Read(r.cluster[:])
	return r
}

// open opens one more node; between may stand before its requests.
func (r *rig) open(change func(*Options), between func(clientv3.KV) clientv3.KV) *Log {
	r.Helper()
	o := Options{Endpoints: []string{etcdURL}, Prefix: r.prefix, Seal: r.seal, Node: fmt.Sprintf("n%d", r.nodes.Add(1))}
	if r.etcd != nil {
		r.etcd(&o)
	}
	if change != nil {
		change(&o)
	}
	l, err := Open(o)
	if err != nil {
		r.Fatal(err)
	}
	l.endpoints.kv = between
	r.Cleanup(func() { _ = l.Close() })
	return l
}

// begun opens the first node and begins the history.
func (r *rig) begun(between func(clientv3.KV) clientv3.KV) *Log {
	r.Helper()
	l := r.open(nil, between)
	if _, err := l.Init(r.Context(), Beginning{Cluster: r.cluster, Epoch: 7, Level: 1}); err != nil {
		r.Fatal(err)
	}
	return l
}

// writer opens a node that writes from now on.
func (r *rig) writer() *Log {
	r.Helper()
	l := r.open(nil, nil)
	if err := l.Claim(r.Context()); err != nil {
		r.Fatal(err)
	}
	return l
}
