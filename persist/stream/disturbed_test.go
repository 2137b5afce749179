package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapid/engine"
)

// hookKV stands between a log and etcd.
type hookKV struct {
	clientv3.KV
	hook func(*hookTxn) (*clientv3.TxnResponse, error)
}

func (k hookKV) Txn(ctx context.Context) clientv3.Txn { return &hookTxn{kv: k, ctx: ctx} }

// hookTxn is one try of a request.
type hookTxn struct {
	kv              hookKV
	ctx             context.Context
	when            []clientv3.Cmp
	then, otherwise []clientv3.Op
}

func (t *hookTxn) If(c ...clientv3.Cmp) clientv3.Txn      { t.when = c; return t }
func (t *hookTxn) Then(o ...clientv3.Op) clientv3.Txn     { t.then = o; return t }
func (t *hookTxn) Else(o ...clientv3.Op) clientv3.Txn     { t.otherwise = o; return t }
func (t *hookTxn) Commit() (*clientv3.TxnResponse, error) { return t.kv.hook(t) }
func (t *hookTxn) send(ctx context.Context) (*clientv3.TxnResponse, error) {
	return t.kv.KV.Txn(ctx).If(t.when...).Then(t.then...).Else(t.otherwise...).Commit()
}

// puts reports whether it would put something under keys that hold a text.
func (t *hookTxn) puts(text string) bool {
	for _, o := range t.then {
		if o.IsPut() && bytes.Contains(o.KeyBytes(), []byte(text)) {
			return true
		}
	}
	return false
}

// errLost is what is seen of a request whose answer does not come.
var errLost = fmt.Errorf("lost: %w", context.DeadlineExceeded)

// network loses, doubles and delays what logs ask.
type network struct {
	mu     sync.Mutex
	chance *rand.Rand
	late   []*hookTxn
	seen   map[string]int
}

func (n *network) between(kv clientv3.KV) clientv3.KV { return hookKV{kv, n.pass} }

func (n *network) draw(of int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.chance.IntN(of)
}

func (n *network) pass(t *hookTxn) (*clientv3.TxnResponse, error) {
	ctx := context.Background()
	n.mu.Lock()
	var arrive []*hookTxn
	for len(n.late) > 0 && n.chance.IntN(3) == 0 {
		arrive, n.late = append(arrive, n.late[0]), n.late[1:]
	}
	what := n.chance.IntN(10)
	if !t.puts("/") {
		what = 9
	}
	n.seen[[]string{"lost", "unanswered", "late", "doubled", "", "", "", "", "", ""}[what]]++
	if what == 2 {
		n.late = append(n.late, t)
	}
	n.mu.Unlock()
	for _, l := range arrive {
		_, _ = l.send(ctx)
	}
	switch what {
	case 0, 2:
		return nil, errLost
	case 1:
		_, _ = t.send(ctx)
		return nil, errLost
	case 3:
		r, err := t.send(ctx)
		_, _ = t.send(ctx)
		return r, err
	}
	return t.send(ctx)
}

// contents reads a log from a revision on to its end.
func contents(t *testing.T, l *Log, after engine.Revision) map[engine.Revision]string {
	t.Helper()
	newest, err := l.Newest(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	got := map[engine.Revision]string{}
	if newest <= after {
		return got
	}
	over := errors.New("over")
	err = l.Follow(context.Background(), after, func(rev engine.Revision, commit []byte) error {
		if got[rev] = string(commit); rev == newest {
			return over
		}
		return nil
	})
	if !errors.Is(err, over) {
		t.Fatal(err)
	}
	return got
}

// Requests are lost, doubled and late, and writers depose each other. What was answered is there, at its place and once; what
// was refused is not there; what is unsure is there once at most.
func TestDisturbed(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			n := &network{chance: rand.New(rand.NewPCG(seed, 7)), seen: map[string]int{}}
			r := newRig(t)
			logs := []*Log{r.begun(nil), r.open(nil, n.between), r.open(nil, n.between)}
			stored, refused := map[string]engine.Revision{}, map[string]bool{}
			w := logs[1]
			for i := range 150 {
				if w.reigning() == nil || n.draw(12) == 0 {
					w = logs[1+n.draw(2)]
					if err := w.Claim(context.Background()); err != nil && !errors.Is(err, engine.ErrNotWriter) {
						t.Fatal(err)
					}
				}
				w := w
				if n.draw(8) == 0 {
					w = logs[1+n.draw(2)] // who was deposed tries as well
				}
				reign := w.reigning()
				if reign == nil {
					continue
				}
				commit := fmt.Sprintf("commit %d of %s", i, w.options.Node)
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				if n.draw(10) == 0 {
					cancel() // who asks goes away
				}
				after := reign.head.Revision
				err := w.Append(ctx, after, []byte(commit))
				cancel()
				switch {
				case err == nil:
					stored[commit] = after + 1
				case !errors.Is(err, engine.ErrUnsure):
					refused[commit] = true
				}
			}
			for _, l := range n.late {
				_, _ = l.send(context.Background())
			}
			count := map[string]int{}
			got := contents(t, logs[0], 0)
			for rev, commit := range got {
				if count[commit]++; count[commit] > 1 || refused[commit] {
					t.Errorf("%q is at revision %d: refused %v, times %d", commit, rev, refused[commit], count[commit])
				}
			}
			for commit, rev := range stored {
				if got[rev] != commit {
					t.Errorf("revision %d is %q instead of %q", rev, got[rev], commit)
				}
			}
			if len(stored) < 20 || n.seen["late"] == 0 || n.seen["unanswered"] == 0 || n.seen["lost"] == 0 {
				t.Errorf("only %d were stored, of %d tries; %v", len(stored), 150, n.seen)
			}
		})
	}
}

// A writer is deposed before, and after, each request of a commit, small or in pieces; the answer comes or is lost.
func TestDeposedAtEachStep(t *testing.T) {
	t.Parallel()
	large := make([]byte, 2*pieceSize+pieceSize/2)
	_, _ = rand.NewChaCha8([32]byte{}).Read(large)
	for name, commit := range map[string][]byte{"small": []byte("commit"), "large": large} {
		steps := 1
		if name == "large" {
			steps = 4
		}
		for step := range steps {
			for _, when := range []string{"before", "after", "after, unanswered"} {
				t.Run(fmt.Sprint(name, step, when), func(t *testing.T) {
					t.Parallel()
					r := newRig(t)
					armed, at, logged := false, 0, false // logged: the commit itself was stored before the next term began
					var other *Log
					l := r.begun(func(kv clientv3.KV) clientv3.KV {
						return hookKV{kv, func(txn *hookTxn) (*clientv3.TxnResponse, error) {
							if !armed || !txn.puts("/part/") && !txn.puts("/log/") {
								return txn.send(txn.ctx)
							}
							if at++; at-1 != step {
								return txn.send(txn.ctx)
							}
							if when == "before" {
								other = r.writer()
								return txn.send(txn.ctx)
							}
							resp, err := txn.send(txn.ctx)
							logged = err == nil && resp.Succeeded && txn.puts("/log/") // a step may be one that is tried again
							other = r.writer()
							if when == "after" {
								return resp, err
							}
							return nil, errLost
						}}
					})
					if err := l.Append(context.Background(), 0, []byte("first")); err != nil {
						t.Fatal(err)
					}
					armed = true
					err := l.Append(context.Background(), 1, commit)
					got := contents(t, other, 0)
					switch {
					case err == nil && got[2] == string(commit):
						if !logged {
							t.Error("it was stored after the next term began")
						}
					case errors.Is(err, engine.ErrNotWriter) && len(got) == 1:
						if logged {
							t.Error("it was stored, and is told not to be")
						}
					default:
						t.Errorf("%v, and the log has %d commits", err, len(got))
					}
					newest := engine.Revision(len(got))
					if err := other.Append(context.Background(), newest, []byte("next")); err != nil {
						t.Error(err)
					}
					if err := l.Append(context.Background(), newest+1, []byte("no")); !errors.Is(err, engine.ErrNotWriter) {
						t.Errorf("the one before: %v", err)
					}
					pieces := int64(steps - 1)
					if len(got) == 1 {
						pieces = 0
					}
					if left := count(t, r, underPart); left != pieces {
						t.Errorf("%d pieces are left of %d", left, pieces)
					}
				})
			}
		}
	}
}
