package console

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"lapid/transport/admin"
)

// threeNodes is a cluster as lapid cluster status -o json tells of one; "": etcd does not answer.
type threeNodes string

func (n threeNodes) Status(context.Context) (any, error) {
	if n == "" {
		return nil, errors.New("no etcd answers")
	}
	return json.RawMessage(n), nil
}

func (threeNodes) Hand(context.Context, string) error            { return nil }
func (threeNodes) Forget(context.Context, string) error          { return nil }
func (threeNodes) Compare(context.Context) (uint64, error)       { return 0, nil }
func (threeNodes) Log(context.Context, uint64, int) (any, error) { return nil, nil }

const aCluster = threeNodes(`{"prefix":"/lapid/main","identity":{"cluster":"00112233445566778899aabbccddeeff"},"term":90071,"head":{"revision":1234567,"chain":"00"},"oldest":1234000,
"nodes":[{"node":"a","start":"1","address":"192.0.2.11:7422","applied":1234567,"version":"v1.2.3","heard_ago":2000000000,"ahead":0,"alive":true,"writes":true,"lag":0},
 {"node":"b","address":"192.0.2.12:7422","applied":1234500,"version":"v1.2.3","heard_ago":3000000000,"ahead":-90000000000,"alive":true,"writes":false,"lag":67},
 {"node":"<c>","address":"192.0.2.13:7422","applied":1,"heard_ago":300000000000,"ahead":0,"alive":false,"writes":false,"lag":1234566}],
"members":[{"id":"1","name":"a","clients":["https://192.0.2.11:2379"],"leader":true,"started":true,"answers":true,"caught_up":true,"version":"3.7.3","size":4194304,"in_use":1048576,"quota":2147483648},
 {"id":"2","name":"b","started":true,"answers":false,"caught_up":false,"error":"none of this node's endpoints leads to it"},{"id":"3f","started":false,"answers":false,"caught_up":false}],
"troubles":["node <c> has told nothing for 5m0s"]}`)

// The page shows what there is to know, to every role; without etcd it says so; a server for itself has none.
func TestClusterPage(t *testing.T) {
	t.Parallel()
	for cluster, want := range map[admin.ClusterVerbs][]string{
		aCluster:       {"1\u202f234\u202f567", "writes", "1m30s behind", "not heard of", "&lt;c&gt; has told nothing", "leader", "does not answer", "never started", "3.7.3", "1.0 MiB", "2.0 GiB", `aria-current="page">Cluster`},
		threeNodes(""): {"Etcd says nothing of the cluster: no etcd answers", `href="/cluster"`},
	} {
		v := newBench(t, func(o *Options) { o.Verbs.Cluster = cluster }).visitor().enter(viewer)
		has(t, "the page", v.get("/cluster"), want...)
		has(t, "another page", v.get("/health-page"), `href="/cluster"`)
	}
	v := newBench(t, nil).visitor().enter(admins)
	has(t, "a server for itself", v.read(http.MethodGet, "/cluster", nil, http.StatusNotFound), "one for itself")
}
