package stream

import (
	"encoding/hex"
	"fmt"
	"strings"

	"lapid/engine"
)

// ClusterID tells one cluster from all others.
type ClusterID [16]byte

// String is the id in hexadecimal digits.
func (c ClusterID) String() string { return hex.EncodeToString(c[:]) }

// MarshalText is for JSON.
func (c ClusterID) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText fails unless there are 32 hexadecimal digits.
func (c *ClusterID) UnmarshalText(text []byte) error { return unhex(c[:], text) }

// Keys, without the prefix. In etcd's order: beat, head, id, known/, log/, part/, writer.
const (
	keyID     = "id"
	keyWriter = "writer"
	keyBeat   = "beat"
	keyHead   = "head"
	underLog  = "log/"
	underPart = "part/"
	underKnow = "known/"
)

func keyLog(rev engine.Revision) string { return fmt.Sprintf("%s%016x", underLog, uint64(rev)) }

func keyPart(rev engine.Revision, a attempt, i int) string {
	return fmt.Sprintf("%s%016x/%s/%02x", underPart, uint64(rev), a, i)
}

// behind is the key after all that begin with one of the names that end with a slash.
func behind(under string) string { return strings.TrimSuffix(under, "/") + "0" }
