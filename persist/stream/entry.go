package stream

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/klauspost/compress/zstd"

	"lapid/engine"
	"lapid/persist"
)

// Chain stands for all commits up to a revision: 16 bytes of SHA-256 over the chain before and the commit.
type Chain [16]byte

// Next is the chain after one more commit.
func (c Chain) Next(commit []byte) (next Chain) {
	h := sha256.New()
	h.Write(c[:])
	h.Write(commit)
	copy(next[:], h.Sum(nil))
	return next
}

// String is the chain in hexadecimal digits.
func (c Chain) String() string { return hex.EncodeToString(c[:]) }

// MarshalText and UnmarshalText are for JSON.
func (c Chain) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText fails unless there are 32 hexadecimal digits.
func (c *Chain) UnmarshalText(text []byte) error { return unhex(c[:], text) }

// Place is a revision and the chain after it. A zero chain is one that is not known.
type Place struct {
	Revision engine.Revision `json:"revision"`
	Chain    Chain           `json:"chain"`
}

// text is a place as it lies under head.
func (p Place) text() string { return fmt.Sprintf("%016x %s", uint64(p.Revision), p.Chain) }

func parsePlace(text []byte) (p Place, err error) {
	if len(text) != 16+1+32 || text[16] != ' ' {
		return p, errors.New("head is not a revision and a chain")
	}
	rev, err := parseRevision(string(text[:16]))
	if err != nil {
		return p, err
	}
	p.Revision = rev
	return p, p.Chain.UnmarshalText(text[17:])
}

// parseRevision reads the 16 digits of a key, which have one spelling.
func parseRevision(digits string) (engine.Revision, error) {
	rev, err := strconv.ParseUint(digits, 16, 64)
	if err != nil || len(digits) != 16 || fmt.Sprintf("%016x", rev) != digits {
		return 0, fmt.Errorf("%q is no revision", digits)
	}
	return engine.Revision(rev), nil
}

func unhex(to, text []byte) error {
	if len(text) != 2*len(to) {
		return fmt.Errorf("%d digits instead of %d", len(text), 2*len(to))
	}
	_, err := hex.Decode(to, text)
	return err
}

// entry is what lies under a key of the log.
type entry struct {
	codec   byte
	term    int64
	chain   Chain // after it
	parts   int   // pieces that hold body; 0: it is here
	attempt attempt
	body    []byte // the commit, packed
}

// attempt tells the pieces of one try from those of another.
type attempt [8]byte

func (a attempt) String() string { return hex.EncodeToString(a[:]) }

const (
	entryVersion = 1
	codecPlain   = 0
	codecZstd    = 1
	entryHead    = 1 + 1 + 8 + 16 + 1

	// pieceSize is what one request may bring: etcd takes 1.5 MiB. maxPieces of them are the largest commit, packed.
	pieceSize = 1 << 20
	maxPieces = 64
	// packFrom is where packing begins to be worth the while, in bytes.
	packFrom = 128
)

func (e *entry) append(dst []byte) []byte {
	dst = append(dst, entryVersion, e.codec)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.term))
	dst = append(dst, e.chain[:]...)
	if dst = append(dst, byte(e.parts)); e.parts > 0 {
		return append(dst, e.attempt[:]...)
	}
	return append(dst, e.body...)
}

var errEntry = errors.New("it is no entry of a log")

// decodeEntry borrows b.
func decodeEntry(b []byte) (e entry, err error) {
	if len(b) < entryHead {
		return e, errEntry
	}
	if b[0] != entryVersion || b[1] > codecZstd {
		return e, fmt.Errorf("%w that this version of lapid reads (version %d, codec %d): update this node", errEntry, b[0], b[1])
	}
	e.codec, e.term = b[1], int64(binary.BigEndian.Uint64(b[2:]))
	copy(e.chain[:], b[10:])
	e.parts = int(b[26])
	rest := b[entryHead:]
	switch {
	case e.parts == 0:
		e.body = rest
	case e.parts > maxPieces || len(rest) != len(e.attempt):
		return e, errEntry
	default:
		copy(e.attempt[:], rest)
	}
	return e, nil
}

// packer makes commits small. One goroutine packs; any may unpack.
type packer struct {
	zip   *zstd.Encoder
	unzip *zstd.Decoder
}

func newPacker() packer {
	zip, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err)
	}
	unzip, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(persist.MaxRecord), zstd.WithDecoderMaxWindow(1<<20))
	if err != nil {
		panic(err)
	}
	return packer{zip, unzip}
}

// pack may return commit itself. What holds secrets is left as it is, so that its size says nothing of how they are
// like what somebody else had a hand in.
func (p packer) pack(commit []byte) (codec byte, body []byte) {
	if len(commit) < packFrom || engine.HoldsSecrets(commit) {
		return codecPlain, commit
	}
	if body = p.zip.EncodeAll(commit, nil); len(body) >= len(commit) {
		return codecPlain, commit
	}
	return codecZstd, body
}

// unpack may return body itself. More than persist.MaxRecord is not unpacked.
func (p packer) unpack(codec byte, body []byte) ([]byte, error) {
	if codec == codecPlain {
		return body, nil
	}
	commit, err := p.unzip.DecodeAll(body, nil)
	if err != nil {
		return nil, fmt.Errorf("unpacking a commit: %w", err)
	}
	return commit, nil
}
