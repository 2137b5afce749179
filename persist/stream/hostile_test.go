package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapid/engine"
)

// raw is a foreign hand.
func raw(t testing.TB) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{etcdURL}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (r *rig) get(key string) string {
	r.Helper()
	g, err := raw(r).Get(context.Background(), r.prefix+"/"+key)
	if err != nil || len(g.Kvs) != 1 {
		r.Fatalf("%s: %v, %d values", key, err, len(g.Kvs))
	}
	return string(g.Kvs[0].Value)
}

func (r *rig) put(key, value string) {
	r.Helper()
	if _, err := raw(r).Put(context.Background(), r.prefix+"/"+key, value); err != nil {
		r.Fatal(err)
	}
}

func count(t *testing.T, r *rig, under string) int64 {
	t.Helper()
	g, err := raw(t).Get(context.Background(), r.prefix+"/"+under, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return g.Count
}

// filled is a history of some commits.
func (r *rig) filled(commits ...string) *Log {
	r.Helper()
	l := r.begun(nil)
	for i, c := range commits {
		if err := l.Append(context.Background(), engine.Revision(i), []byte(c)); err != nil {
			r.Fatal(err)
		}
	}
	return l
}

// Entries that were cut, altered, exchanged, put under another key or come from another cluster are not delivered.
func TestForgedEntries(t *testing.T) {
	t.Parallel()
	secret := "a commit of which nobody else may know"
	for name, forge := range map[string]func(r *rig, value string) string{
		"cut":       func(_ *rig, v string) string { return v[:len(v)-1] },
		"empty":     func(*rig, string) string { return "" },
		"altered":   func(_ *rig, v string) string { return v[:len(v)-1] + string(v[len(v)-1]^1) },
		"exchanged": func(r *rig, _ string) string { return r.get(keyLog(3)) },
		"another cluster's": func(r *rig, _ string) string {
			other := newRig(r)
			other.seal = r.seal
			other.filled("x", secret, "y")
			return other.get(keyLog(2))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.filled("a", secret, secret)
			v := r.get(keyLog(2))
			if strings.Contains(v, secret) || strings.Contains(r.get(keyWriter), "n1") {
				t.Error("it is readable in etcd")
			}
			r.put(keyLog(2), forge(r, v))
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			err := r.open(nil, nil).Follow(ctx, 0, func(rev engine.Revision, _ []byte) error {
				if rev > 1 {
					t.Errorf("revision %d is delivered", rev)
				}
				return nil
			})
			if !errors.Is(err, ErrSeal) {
				t.Errorf("followed: %v", err)
			}
		})
	}
}

// Nothing of what a commit or a node says lies in clear in etcd's files, whether it is packed, short, or in pieces.
func TestNothingInClear(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const secret = "a-secret-that-nobody-else-may-read"
	long := make([]byte, 3*pieceSize) // which no packing makes shorter
	for i := range long {
		long[i] = byte(rand.Uint32())
	}
	l := r.filled(secret, secret+strings.Repeat(" and so on", 1000), secret+string(long))
	tells := &teller{log: l, facts: func() Facts { return Facts{Version: secret} }}
	if err := tells.tell(t.Context()); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(etcdData, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // one that etcd has just taken away
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		if files++; bytes.Contains(text, []byte(secret)) {
			t.Errorf("%s holds it in clear", path)
		}
		return nil
	})
	if err != nil || files < 2 {
		t.Errorf("%d files of etcd were read: %v", files, err)
	}
}

// A commit that is sealed well but was not made on what this node has is another history: the node stops.
func TestOtherHistory(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	l := r.filled("a", "b")
	for name, place := range map[string]Place{
		"another at the end":   {2, Chain{1}},
		"another in between":   {1, Chain{1}},
		"more than etcd has":   {7, Chain{1}},
		"a wrong cluster's id": {},
	} {
		follower := r.open(func(o *Options) {
			if o.Trace.Place = place; place == (Place{}) {
				o.Trace.Cluster = ClusterID{1}
			}
		}, nil)
		err := follower.Follow(context.Background(), place.Revision, func(rev engine.Revision, _ []byte) error {
			return fmt.Errorf("revision %d is delivered", rev)
		})
		if !errors.Is(err, ErrOtherHistory) {
			t.Errorf("%s: %v", name, err)
		}
		if err := follower.Claim(context.Background()); !errors.Is(err, ErrOtherHistory) {
			t.Errorf("%s, and then it claims: %v", name, err)
		}
	}
	trace := l.Trace()
	if trace.Place.Revision != 2 || trace.Cluster != r.cluster || trace.EtcdCluster == 0 {
		t.Errorf("trace %+v", trace)
	}
	again := r.open(func(o *Options) { o.Trace = trace }, nil)
	if got := contents(t, again, 1); got[2] != "b" {
		t.Errorf("with its own trace: %v", got)
	}
	trace.EtcdRevision += 1000
	if _, err := r.open(func(o *Options) { o.Trace = trace }, nil).Join(context.Background()); !errors.Is(err, ErrOtherHistory) {
		t.Errorf("of an etcd that went back: %v", err)
	}
	trace = l.Trace()
	trace.EtcdCluster++
	if _, err := r.open(func(o *Options) { o.Trace = trace }, nil).Join(context.Background()); !errors.Is(err, ErrOtherHistory) {
		t.Errorf("of another etcd: %v", err)
	}
}

// A foreign hand in head is put right, once a minute; where it goes on the writer gives up, and the next finds the end.
func TestForeignHand(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	l := r.filled("a", "b")
	r.put(keyHead, Place{1, Chain{}}.text())
	if err := l.Append(context.Background(), 2, []byte("c")); err != nil {
		t.Fatal(err)
	}
	r.put(keyHead, "nonsense")
	if err := l.Append(context.Background(), 3, []byte("no")); !errors.Is(err, engine.ErrNotWriter) {
		t.Errorf("the second time: %v", err)
	}
	r.put(keyHead, Place{1, Chain{}}.text())
	next := r.writer()
	if err := next.Append(context.Background(), 3, []byte("d")); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, r.open(nil, nil), 0); len(got) != 4 || got[3] != "c" || got[4] != "d" {
		t.Errorf("%v", got)
	}
	if _, err := raw(t).Delete(context.Background(), r.prefix+"/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	if err := next.Append(context.Background(), 4, []byte("e")); !errors.Is(err, ErrOtherHistory) {
		t.Errorf("when all was deleted: %v", err)
	}
	if _, err := r.open(nil, nil).Join(context.Background()); !errors.Is(err, ErrNotBegun) {
		t.Errorf("a new node then: %v", err)
	}
}

// Only one history begins under a prefix, and the one who begins may ask again.
func TestInit(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if _, err := r.open(nil, nil).Join(context.Background()); !errors.Is(err, ErrNotBegun) {
		t.Errorf("before: %v", err)
	}
	place := Place{Revision: 5}
	l := r.open(nil, nil)
	id, err := l.Init(context.Background(), Beginning{Cluster: r.cluster, Place: place, Epoch: 9, Level: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append(context.Background(), 5, []byte("six")); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, r.open(nil, nil), 5); got[6] != "six" || len(got) != 1 {
		t.Errorf("%v", got)
	}
	err = r.open(nil, nil).Follow(context.Background(), 4, func(engine.Revision, []byte) error { return nil })
	if !errors.Is(err, engine.ErrForgotten) {
		t.Errorf("before the base: %v", err)
	}
	again, err := r.open(nil, nil).Init(context.Background(), Beginning{Cluster: r.cluster, Place: place, Epoch: 9, Level: 3})
	if err != nil || again != id {
		t.Errorf("asked again: %+v, %v", again, err)
	}
	other := Beginning{Cluster: ClusterID{1}}
	if _, err := r.open(nil, nil).Init(context.Background(), other); err == nil || !strings.Contains(err.Error(), r.cluster.String()) {
		t.Errorf("another cluster: %v", err)
	}
	seal, _ := ParseSeal([]byte(NewSealLine()))
	wrong := func(o *Options) { o.Seal = seal }
	if _, err := r.open(wrong, nil).Join(context.Background()); !errors.Is(err, ErrSeal) {
		t.Errorf("with another seal: %v", err)
	}
	if _, err := r.open(wrong, nil).Init(context.Background(), other); !errors.Is(err, ErrSeal) {
		t.Errorf("begun with another seal: %v", err)
	}
	other.Again, other.Was, other.Place = true, r.cluster, Place{Revision: 6}
	anew := r.open(nil, nil)
	if _, err := anew.Init(context.Background(), other); !errors.Is(err, ErrNothingLost) {
		t.Errorf("begun anew where all is there: %v", err)
	}
	other.Place.Revision = 7 // etcd was set back
	if _, err := anew.Init(context.Background(), other); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(context.Background(), 6, []byte("no")); !errors.Is(err, ErrOtherHistory) {
		t.Errorf("the one before: %v", err)
	}
	if err := anew.Append(context.Background(), 7, []byte("eight")); err != nil {
		t.Error(err)
	}
}

// Two processes of one name: the one that came second stops, the first goes on.
func TestOneName(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := r.begun(nil)
	second := r.open(func(o *Options) { o.Node = "n1" }, nil)
	facts := func() Facts { return Facts{} }
	a, b := &teller{log: first, facts: facts}, &teller{log: second, facts: facts}
	for i, t2 := range []*teller{a, b, a} {
		if err := t2.tell(context.Background()); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if err := b.tell(context.Background()); err == nil || second.over() == nil {
		t.Errorf("the second goes on: %v", err)
	}
	if err := a.tell(context.Background()); err != nil {
		t.Error(err)
	}
	if all, err := r.open(nil, nil).Known(context.Background()); err != nil || len(all) != 1 || all[0].Start != first.start {
		t.Errorf("known: %+v, %v", all, err)
	}
	if err := first.Forget(context.Background(), "n1"); err != nil {
		t.Error(err)
	}
	if err := first.Forget(context.Background(), "n7"); err == nil {
		t.Error("a node that is not known is forgotten")
	}
}

func TestSeal(t *testing.T) {
	t.Parallel()
	first, second := NewSealLine(), NewSealLine()
	one, err := ParseSeal([]byte("# of the cluster\n" + first + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	both, err := ParseSeal([]byte(second + "\n\n" + first))
	if err != nil {
		t.Fatal(err)
	}
	v := one.close(ClusterID{1}, "key", []byte("value"))
	if plain, old, err := both.open(ClusterID{1}, "key", v); err != nil || !old || string(plain) != "value" {
		t.Errorf("%q, %v, %v", plain, old, err)
	}
	if _, _, err := one.open(ClusterID{1}, "key", both.close(ClusterID{1}, "key", nil)); err == nil {
		t.Error("the second line closes")
	}
	if fmt.Sprintf("%v %+v %#v", one, one, Options{Seal: one}.Seal) != "(a seal) (a seal) (a seal)" {
		t.Error("a seal is shown")
	}
	for _, bad := range []string{"", "\n#\n", "x", first[:20], first + "A", first + "\n" + second + "\n" + first, "lapid-seal-2:" + first[len(sealLine):]} {
		if _, err := ParseSeal([]byte(bad)); err == nil || strings.Contains(err.Error(), first[len(sealLine):]) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestOldEtcd(t *testing.T) {
	t.Parallel()
	for version, old := range map[string]bool{
		"3.4.21": true, "3.4.22": false, "3.4.23": false, "3.5.0": true, "3.5.6": true, "3.5.7": false, "3.7.3": false, "2.3.8": true,
		"3.6.0-rc.1": false, "3.5.0-rc.0": true, "": false, "not provided": false, "3.5": false,
	} {
		if got := oldEtcd(version) != nil; got != old {
			t.Errorf("%q is refused: %v", version, got)
		}
	}
}

// What the log trims by: age and bytes, and what two nodes have on their disks.
func TestBound(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	l := r.open(func(o *Options) { o.KeepBytes = 250 }, nil)
	tr := &trimmer{log: l}
	for rev := range engine.Revision(10) {
		l.passed(Place{Revision: rev + 1, Chain: Chain{1}}, 100)
	}
	know := func(node string, synced engine.Revision, ago time.Duration) {
		if l.known == nil {
			l.known = map[string]told{}
		}
		l.known[node] = told{Known: Known{Node: node, Facts: Facts{Synced: synced}}, at: steady() - int64(ago)}
	}
	want := func(what string, rev engine.Revision) {
		t.Helper()
		if got := tr.bound(); got != rev {
			t.Errorf("%s: up to %d instead of %d", what, got, rev)
		}
	}
	want("nobody is known", 0)
	know("n1", 7, 0)
	want("alone", 7)
	know("n2", 3, 0)
	want("of two", 3)
	know("n3", 5, 0)
	want("of three", 5)
	know("n1", 10, 0)
	want("by bytes", 5)
	know("n3", 9, 0)
	want("by bytes", 8)
	know("n2", 3, absentFor)
	know("n3", 4, absentFor)
	want("the others are absent", 8)
	know("n3", 4, 0)
	want("one is back", 4)
	l.room = room{quota: 100, inUse: 61}
	want("little room", 8)
}

// The most advanced node that is alive and may write is named next; one that wrote and fell silent is not, until it tells again.
func TestHeir(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	l := r.open(nil, nil)
	c := &campaign{log: l}
	l.known = map[string]told{}
	for name, k := range map[string]Known{"n1": {Facts: Facts{Applied: 9}}, "n2": {Facts: Facts{Applied: 7}}, "n3": {Facts: Facts{Applied: 8}},
		"n4": {NeverWrites: true, Facts: Facts{Applied: 9}}, "n5": {Facts: Facts{Applied: 9}}} {
		k.Node, k.Start = name, "of "+name
		at := steady()
		if name == "n5" {
			at -= int64(aliveFor)
		}
		l.known[name] = told{Known: k, at: at}
	}
	want := func(asked, node string) {
		t.Helper()
		if k, err := c.heir(asked); (err == nil) != (node != "") || err == nil && k.Node != node {
			t.Errorf("asked for %q: %q, %v", asked, k.Node, err)
		}
	}
	want("", "n3")
	want("n2", "n2")
	for _, no := range []string{"n4", "n5", "n6"} {
		want(no, "")
	}
	l.fellSilent(Writer{Node: "n3", Start: "of another"})
	want("", "n3")
	l.fellSilent(Writer{Node: "n3", Start: "of n3"})
	want("", "n2")
	want("n3", "")
}

// The commit that is too large for etcd, and an etcd with little room, are told, and nothing is lost by it.
func TestLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	l := r.filled("a")
	l.mu.Lock()
	l.room = room{quota: 1000, size: 900, inUse: 801}
	l.mu.Unlock()
	if err := l.Append(context.Background(), 1, []byte("b")); !errors.Is(err, ErrNoRoom) {
		t.Errorf("above 80 percent: %v", err)
	}
	l.mu.Lock()
	l.room = room{quota: 1000, size: 990, inUse: 1}
	l.mu.Unlock()
	if err := l.Append(context.Background(), 1, []byte("b")); !errors.Is(err, ErrNoRoom) || !strings.Contains(err.Error(), "defrag") {
		t.Errorf("a full file: %v", err)
	}
	l.mu.Lock()
	l.room = room{}
	l.mu.Unlock()
	if err := l.Append(context.Background(), 1, bytes.Repeat([]byte{255}, maxPieces*pieceSize+1)); err == nil || errors.Is(err, engine.ErrNotWriter) {
		t.Errorf("too large: %v", err)
	}
	if err := l.Append(context.Background(), 1, []byte("b")); err != nil {
		t.Error(err)
	}
}

// A watch that leaves something out is thrown away, and pages bring it; a compaction in between changes nothing.
func TestPages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var commits []string
	for i := range 3*pageOf + 1 {
		commits = append(commits, fmt.Sprint("commit ", i))
	}
	l := r.filled(commits...)
	reader := r.open(nil, nil)
	if _, err := reader.Join(context.Background()); err != nil {
		t.Fatal(err)
	}
	g, err := raw(t).Get(context.Background(), r.prefix+"/"+keyLog(3))
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{log: reader, at: Place{Revision: 1}, deliver: func(engine.Revision, []byte) error { return nil }}
	if err := f.events(context.Background(), []*clientv3.Event{{Kv: g.Kvs[0]}}); !errors.Is(err, errWatch) || f.at.Revision != 1 {
		t.Errorf("a hole in a watch: %v, at %d", err, f.at.Revision)
	}
	over := errors.New("over")
	seen := engine.Revision(0)
	err = reader.Follow(context.Background(), 0, func(rev engine.Revision, commit []byte) error {
		if seen++; rev != seen || (int(rev) <= len(commits) && string(commit) != commits[rev-1]) {
			t.Errorf("revision %d after %d: %q", rev, seen-1, commit)
		}
		switch int(rev) {
		case 2: // while pages are read at a revision that is compacted now
			if err := l.Append(context.Background(), engine.Revision(len(commits)), []byte("more")); err != nil {
				t.Error(err)
			}
			if _, err := raw(t).Compact(context.Background(), l.etcd.revision.Load()); err != nil && !isCompacted(err) {
				t.Error(err)
			}
		case len(commits) + 1:
			return over
		}
		return nil
	})
	if !errors.Is(err, over) {
		t.Error(err)
	}
}

// Commits come back as they were: small and large, those that pack well, and those that do not.
func TestPacked(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	l := r.begun(nil)
	head := []byte{2, 0, 0} // a commit of no operations, and more of a newer program
	random := make([]byte, pieceSize+pieceSize/2)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random)
	var rev engine.Revision
	for name, body := range map[string][]byte{
		"empty": nil, "small": []byte("x"), "4 kB": make([]byte, 4096), "20 MB that pack well": make([]byte, 20<<20), "more than a piece": random,
	} {
		commit := append(bytes.Clone(head), body...)
		if err := l.Append(context.Background(), rev, commit); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if rev++; contents(t, l, rev-1)[rev] != string(commit) {
			t.Errorf("%s: it comes back as another", name)
		}
		if v := len(r.get(keyLog(rev))); len(body) > 1000 && body[0] == 0 && v > 200+len(body)/1000 {
			t.Errorf("%s: has %d bytes in etcd", name, v)
		}
	}
	if n := count(t, r, underPart); n != 2 {
		t.Errorf("%d pieces", n)
	}
	if err := l.Trim(rev); err != nil {
		t.Error(err)
	}
}

// Confirms are shared, and each begins after who asks for it.
func TestConfirm(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	l := r.begun(nil)
	follower := r.open(nil, nil)
	for rev := range engine.Revision(20) {
		if err := l.Append(context.Background(), rev, []byte("x")); err != nil {
			t.Fatal(err)
		}
		done := make(chan engine.Revision)
		for range 8 {
			go func() {
				got, err := follower.Confirm(context.Background())
				if err != nil {
					t.Error(err)
				}
				done <- got
			}()
		}
		for range 8 {
			if got := <-done; got < rev+1 {
				t.Errorf("%d is confirmed after %d was answered", got, rev+1)
			}
		}
	}
	if _, ok := follower.Confirmed(); !ok {
		t.Error("it was not confirmed")
	}
}

// FuzzEntry reads whatever was sealed: it never panics, and what is read is written the same.
func FuzzEntry(f *testing.F) {
	whole := entry{codec: codecZstd, term: 7, chain: Chain{1, 2}, body: []byte("commit")}
	pieces := entry{term: 1 << 40, parts: 3, attempt: attempt{9}}
	f.Add(whole.append(nil))
	f.Add(pieces.append(nil))
	f.Add([]byte{})
	p := newPacker()
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEntry(b)
		if err != nil {
			return
		}
		if again := e.append(nil); !bytes.Equal(again, b) {
			t.Errorf("%x is written as %x", b, again)
		}
		if e.parts == 0 && len(e.body) < 1<<16 {
			_, _ = p.unpack(e.codec, e.body)
		}
	})
}

// FuzzSealed opens whatever lies in etcd: nothing but what was closed for the key opens.
func FuzzSealed(f *testing.F) {
	line := sealLine + strings.Repeat("A", 43)
	seal, err := ParseSeal([]byte(line))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seal.close(ClusterID{1}, "log/1", []byte("x")))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if plain, _, err := seal.open(ClusterID{2}, "log/1", b); err == nil {
			t.Errorf("%x opens to %q", b, plain)
		}
		if p, err := parsePlace(b); err == nil && p.text() != string(b) {
			t.Errorf("%q is read as %q", b, p.text())
		}
	})
}

// A history begins anew under an empty prefix only if none that this node's seal opens lies beside it: the prefix would be mistyped.
func TestBeside(t *testing.T) {
	t.Parallel()
	r, foreign := newRig(t), newRig(t)
	r.prefix, foreign.prefix = "/beside/main", "/beside/main-2"
	r.begun(nil)
	foreign.begun(nil)
	if _, err := raw(t).Put(context.Background(), "/beside/a key", "of somebody else"); err != nil {
		t.Fatal(err)
	}
	again := Beginning{Cluster: ClusterID{1}, Was: r.cluster, Again: true}
	at := func(prefix string) *Log { return r.open(func(o *Options) { o.Prefix = prefix }, nil) }
	_, err := at("/beside/mian").Init(context.Background(), again)
	if !errors.Is(err, ErrBeside) || !strings.Contains(err.Error(), "/beside/main (cluster "+r.cluster.String()) || !strings.Contains(err.Error(), "cluster.etcd.prefix") || strings.Contains(err.Error(), "main-2") {
		t.Errorf("beside a history: %v", err)
	}
	if err := at("/beside/main").NothingBeside(context.Background()); err != nil {
		t.Errorf("beside one of another seal: %v", err)
	}
	if _, err := at("/another/beside/mian").Init(context.Background(), again); err != nil {
		t.Errorf("where none lies: %v", err)
	}
}
