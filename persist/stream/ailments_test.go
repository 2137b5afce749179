package stream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// shows is a listener that shows a certificate made with change, and wants one if mutual; trusted is what takes it.
func shows(t *testing.T, mutual bool, change func(*x509.Certificate)) (url string, trusted *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "etcd"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	if change != nil {
		change(c)
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}, NextProtos: []string{"h2"}}
	if mutual {
		config.ClientAuth = tls.RequireAnyClientCert
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = c.(*tls.Conn).Handshake()
				_ = c.Close()
			}()
		}
	}()
	trusted = x509.NewCertPool()
	trusted.AddCert(leaf)
	return "https://" + l.Addr().String(), trusted
}

// What is wrong with a node's configuration is said with what to do about it, whichever way it is asked: why nothing is confirmed is
// what /ready and the log say, and no answer to Status is its error.
func TestWrongConfiguration(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.begun(nil)
	at := func(url string, trusted *x509.CertPool) func(*Options) {
		return func(o *Options) { o.Endpoints, o.TLS = []string{url}, &tls.Config{RootCAs: trusted} }
	}
	good, trusted := shows(t, false, nil)
	old, ofOld := shows(t, false, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
	elsewhere, ofElsewhere := shows(t, false, func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"etcd.example"} })
	mutual, ofMutual := shows(t, true, nil)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + free.Addr().String()
	_ = free.Close()
	foreign, err := ParseSeal([]byte(NewSealLine()))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		wrong func(*Options)
		says  string
		stops bool // for ever: Broken says it too
	}{
		"an endpoint that refuses":          {func(o *Options) { o.Endpoints = []string{nobody} }, "start that etcd, or correct cluster.etcd.endpoints", false},
		"a certificate of another":          {at(good, x509.NewCertPool()), "cluster.etcd.ca_file", false},
		"a certificate that is over":        {at(old, ofOld), "not in force", false},
		"a certificate for another address": {at(elsewhere, ofElsewhere), "write the endpoint as the certificate has it", false},
		"no certificate of this node":       {at(mutual, ofMutual), "cluster.etcd.cert_file", false},
		"TLS where there is none":           {at("https"+strings.TrimPrefix(etcdURL, "http"), trusted), "it does not speak TLS", false},
		"another seal":                      {func(o *Options) { o.Seal = foreign }, "cluster.seal_file must be the same on all nodes", false},
		"nothing begun":                     {func(o *Options) { o.Prefix = "/test/nothing" }, "lapid cluster init", false},
		"the prefix of another cluster":     {func(o *Options) { o.Trace.Cluster = ClusterID{1} }, "give the right cluster.etcd.prefix", true},
		"a prefix that was emptied":         {func(o *Options) { o.Prefix, o.Trace.Cluster = "/test/nothing", r.cluster }, "cluster init --again", true},
		"a prefix that was mistyped":        {func(o *Options) { o.Prefix, o.Trace.Cluster = "/test/nothing", r.cluster }, "Is cluster.etcd.prefix the one that the other nodes have", true},
		"data folders that were lost":       {func(o *Options) { o.Trace.EtcdRevision = 1 << 60 }, "cluster init --again", true},
		"another etcd":                      {func(o *Options) { o.Trace.EtcdCluster = 1 }, "correct cluster.etcd.endpoints", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := r.open(c.wrong, nil)
			if _, err := l.Confirm(context.Background()); err == nil {
				t.Fatal("it was confirmed")
			}
			if why := l.Unconfirmed(); why == nil || !strings.Contains(why.Error(), c.says) {
				t.Errorf("why nothing is confirmed: %v", why)
			}
			if why := l.Broken(); (why != nil) != c.stops || c.stops && !strings.Contains(why.Error(), c.says) {
				t.Errorf("why it does nothing any more: %v", why)
			}
			ctx, cancel := context.WithTimeout(context.Background(), confirmWithin)
			defer cancel()
			if _, err := l.Status(ctx); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("status: %v", err)
			}
		})
	}
	l := r.open(nil, nil)
	if _, err := l.Confirm(context.Background()); err != nil || l.Unconfirmed() != nil {
		t.Errorf("where nothing is wrong: %v, %v", err, l.Unconfirmed())
	}
}

// What is wrong beside a node that serves is told by Ailments and by Status, in the same words.
func TestAilments(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	l := r.begun(nil)
	tells := func(node string, facts Facts) *teller {
		t.Helper()
		other := r.open(func(o *Options) { o.Node, o.Address = node, "192.0.2.9:7422" }, nil)
		by := &teller{log: other, facts: func() Facts { return facts }}
		if err := by.tell(context.Background()); err != nil {
			t.Fatal(err)
		}
		return by
	}
	digest := func(text string) Facts {
		return Facts{Digests: map[string]string{"CS_LAPI_SECRET": r.seal.Digest("CS_LAPI_SECRET", []byte(text))}}
	}
	me := &teller{log: l, facts: func() Facts { return digest("one") }}
	if err := me.tell(context.Background()); err != nil {
		t.Fatal(err)
	}
	tells("other", digest("another"))
	late := Known{Node: "late", Start: "s", Facts: digest("one"), Clock: time.Now().Add(5 * time.Minute)}
	r.put(underKnow+"late", l.sealJSON(r.cluster, underKnow+"late", late))
	namesake := tells(l.options.Node, digest("one"))
	if err := me.tell(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := namesake.tell(context.Background()); !errors.Is(err, namesake.log.Broken()) || err == nil || !strings.Contains(err.Error(), "cluster.name") {
		t.Errorf("the second process with one name goes on: %v", err)
	}
	s, err := l.Status(context.Background()) // which hears of the others
	if err != nil {
		t.Fatal(err)
	}
	for name, said := range map[string][]string{"Status": s.Troubles, "Ailments": l.Ailments()} {
		all := strings.Join(said, "\n")
		for _, words := range []string{"CS_LAPI_SECRET: not the same at node other", "the clock of node late is", "a name of its own (cluster.name)"} {
			if !strings.Contains(all, words) {
				t.Errorf("%s does not say %q: %s", name, words, all)
			}
		}
	}

	well := &clientv3.StatusResponse{Header: &etcdserverpb.ResponseHeader{}}
	both := []is{{endpoint: l.endpoints.all[0], status: well}, {endpoint: &endpoint{url: "https://192.0.2.3:2379"}, err: errSilent}}
	for range silentLooks {
		if said := strings.Join(l.Ailments(), "\n"); strings.Contains(said, "192.0.2.3") {
			t.Errorf("a member is missed too early: %s", said)
		}
		l.sawMembers(both)
	}
	if said := strings.Join(l.Ailments(), "\n"); !strings.Contains(said, "etcd's member at 192.0.2.3:2379 does not answer") {
		t.Errorf("a member that is away is not told: %s", said)
	}
	both[0].status, both[0].err = nil, errSilent
	if l.sawMembers(both); strings.Contains(strings.Join(l.Ailments(), "\n"), "does not answer") {
		t.Error("that no member answers is told twice")
	}

	quota := int64(100 << 20)
	for words, m := range map[string]MemberFigures{
		"etcdctl alarm disarm":     {Alarms: []string{"memberID:1 alarm:NOSPACE"}},
		"init --again":             {Alarms: []string{"memberID:1 alarm:CORRUPT"}},
		"later one is needed":      {Version: "3.5.6"},
		"writes get 503":           {Quota: quota, Size: quota, InUse: quota * 81 / 100},
		"nothing more is stored":   {Quota: quota, Size: quota, InUse: quota * 61 / 100},
		"etcdctl defrag":           {Quota: quota, Size: quota * 81 / 100, InUse: 1},
		"says: a word of tomorrow": {Alarms: []string{"a word of tomorrow"}},
	} {
		if said := m.ailments("m"); len(said) != 1 || !strings.Contains(said[0], words) || !strings.Contains(said[0], "etcd's member m") && !strings.Contains(said[0], "of etcd's member m") {
			t.Errorf("%q: %q", words, said)
		}
	}
	if said := (&MemberFigures{Version: "3.7.3", Quota: quota, Size: 1, InUse: 1}).ailments("m"); said != nil {
		t.Errorf("of a member that is well: %q", said)
	}
}
