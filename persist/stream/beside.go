package stream

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrBeside: a history was to begin anew under an empty prefix, and another one that this node's seal opens lies beside it.
var ErrBeside = errors.New("a cluster of this node's seal lives in this etcd under another prefix")

// maxBeside is at how many prefixes is looked; what lies behind them is passed over.
const maxBeside = 64

// NothingBeside is ErrBeside, with where they are, if histories that this node's seal opens lie in this etcd under prefixes that are this
// one's but for the word after the last slash. Other errors: that could not be looked at.
func (l *Log) NothingBeside(ctx context.Context) error {
	parent := l.options.Prefix[:strings.LastIndex(l.options.Prefix, "/")+1]
	var found []string
	at, end := parent, behind(parent)
	for range maxBeside {
		a, err := l.ask(ctx, request{then: []clientv3.Op{clientv3.OpGet(at, clientv3.WithRange(end), clientv3.WithLimit(1), clientv3.WithKeysOnly())}})
		if err != nil {
			return err
		}
		kv := one(a.Responses[0])
		if kv == nil {
			break
		}
		name, _, folder := strings.Cut(strings.TrimPrefix(string(kv.Key), parent), "/")
		if !folder {
			at = string(kv.Key) + "\x00"
			continue
		}
		prefix := parent + name
		at = behind(prefix + "/")
		if prefix == l.options.Prefix {
			continue
		}
		if a, err = l.ask(ctx, request{then: []clientv3.Op{clientv3.OpGet(prefix + "/" + keyID)}}); err != nil {
			return err
		}
		var there Identity
		if kv := one(a.Responses[0]); kv != nil && l.unsealJSON(ClusterID{}, keyID, kv.Value, &there) == nil {
			found = append(found, fmt.Sprintf("%s (cluster %s)", prefix, there.Cluster))
		}
	}
	if found == nil {
		return nil
	}
	return fmt.Errorf("%w: %s. If that is this node's, correct cluster.etcd.prefix, which is %s, and start it; a cluster that is to be another begins under a prefix "+
		"that is not beside it, such as %s/%s", ErrBeside, strings.Join(found, ", "), l.options.Prefix, path.Join("/another", parent), path.Base(l.options.Prefix))
}

// aloneHere refuses to begin anew beside another history. An etcd that does not let its user look beside the prefix is taken at the
// operator's word, which the log says.
func (l *Log) aloneHere(ctx context.Context) error {
	err := l.NothingBeside(ctx)
	if errors.Is(err, rpctypes.ErrPermissionDenied) {
		l.log.Warn("etcd's user may not look beside the prefix, so nobody knows whether the cluster lives under another one: cluster.etcd.prefix must be the one that the other nodes have", "prefix", l.options.Prefix)
		return nil
	}
	return err
}
