package persist

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/cockroachdb/pebble/v2"
)

// ID tells one store from every other: 128 bits of chance, made with the store.
// A copy of the folder has the same one; what is restored from a backup has its
// own. The zero ID is that of a store that was not given one yet.
type ID [16]byte

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// identity binds what is in a folder to the folder: the file FORMAT holds it, and
// journal, records, snapshots and LATEST are compared with it.
type identity struct {
	id ID
	// since is the revision up to which there were records and snapshots before
	// the store was given its id: those do not carry it.
	since uint64
	// seed is where the sums of later records start from.
	seed uint32
}

func newIdentity() (identity, error) {
	var id ID
	if _, err := rand.Read(id[:]); err != nil {
		return identity{}, fmt.Errorf("make an id for the store: %w", err)
	}
	return identityOf(id, 0), nil
}

func identityOf(id ID, since uint64) identity {
	return identity{id: id, since: since, seed: crc32.Checksum(id[:], castagnoli)}
}

// given tells that the store has an id: its format is 2 or later.
func (i identity) given() bool { return i.id != ID{} }

// sum covers a record and its revision, so that a record found under another key
// is noticed, and starts from the store's id, so that one of another store is.
func (i identity) sum(rev uint64, record []byte) uint32 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], rev)
	seed := i.seed
	if rev <= i.since {
		seed = 0
	}
	return crc32.Update(crc32.Update(seed, castagnoli, b[:]), castagnoli, record)
}

// identityKey is the key of the store's id in the journal.
var identityKey = []byte{identitySpace}

// identityValueSize is an id and its checksum.
const identityValueSize = len(ID{}) + 4

func (i identity) value() []byte {
	return binary.LittleEndian.AppendUint32(i.id[:], i.seed)
}

// parseIdentityValue is the mirror of value.
func parseIdentityValue(b []byte) (id ID, ok bool) {
	if len(b) != identityValueSize {
		return ID{}, false
	}
	id = ID(b[:len(id)])
	return id, binary.LittleEndian.Uint32(b[len(id):]) == crc32.Checksum(id[:], castagnoli)
}

// sign puts the id into a batch.
func (i identity) sign(b *pebble.Batch) { _ = b.Set(identityKey, i.value(), nil) } // only indexed batches can fail

// whose returns the id that the journal holds, the zero one when it holds none.
func (in *instance) whose() (ID, error) {
	value, closer, err := in.db.Get(identityKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return ID{}, nil
	}
	if err != nil {
		return ID{}, fmt.Errorf("read the journal's id: %w: %w", kindOf(err), err)
	}
	defer closer.Close()
	id, ok := parseIdentityValue(value)
	if !ok {
		return ID{}, fmt.Errorf("the journal's id fails its checksum: %w", ErrCorrupt)
	}
	return id, nil
}

// settleID brings the id from the log to a table: a log may get lost, and then the
// journal must still be known as this store's.
func (in *instance) settleID() error {
	if err := in.db.Flush(); err != nil {
		return fmt.Errorf("%w: %w", kindOf(err), err)
	}
	return in.fence.err()
}
