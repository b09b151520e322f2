package processors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/earshot/earshot/telemetry"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A checkpoint is a set of records in the compacted checkpoint topic, in the
// partition with the input's number. Its keys begin with the input's short name
// and partition ("telemetry/3/"), then:
//
//	h          the header: input offset, generation, scalars, digest
//	m/KEY      an entry of the machine
//	t/ID       a timeline
//	c/N/m/KEY  piece N ≥ 1 of an entry too large for one record
//
// A checkpoint writes only what changed, in one transaction with the header,
// outcomes and offsets. The header carries a digest over all live entries: a
// reader that did not get exactly the state the header stands for notices, and
// rebuilds the state from the input instead of going on with a wrong one.
const (
	headerKey      = "h"
	machinePrefix  = "m/"
	timelinePrefix = "t/"
)

// pieceBytes is how much state goes into one record.
const pieceBytes = 512 << 10

var errDigest = errors.New("the entries of the checkpoint are not those its header stands for")

func shortTopic(topic string) string {
	return strings.TrimSuffix(strings.TrimPrefix(topic, "earshot."), ".v1")
}

func checkpointPrefix(topic string, partition int32) string {
	return shortTopic(topic) + "/" + strconv.Itoa(int(partition)) + "/"
}

func pieceKey(n int, key string) string { return "c/" + strconv.Itoa(n) + "/" + key }

// savedState describes what the checkpoint topic holds of one partition, so
// that the next checkpoint can be a difference to it.
type savedState struct {
	generation uint64
	entries    map[uint64]uint64 // hash of each entry by keyHash: many are held, so not the key itself
	pieces     map[uint64]int    // how many an entry has, where it is not one
	digest     uint64            // sum of the hashes of all entries
	stale      []string          // keys of a distrusted checkpoint, to be deleted by the next
	broken     bool              // the machine panicked while it wrote: never again
}

func newSavedState() savedState {
	return savedState{entries: map[uint64]uint64{}, pieces: map[uint64]int{}}
}

// keySeed is another in each process, so that nobody can choose two keys that
// are taken for one. Should chance do so, the digest is wrong, and the next
// recovery rebuilds the state from the input.
var keySeed = maphash.MakeSeed()

func keyHash(key string) uint64 { return maphash.String(keySeed, key) }

func entryHash(key string, state []byte) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(key)
	_, _ = d.Write([]byte{0})
	_, _ = d.Write(state)
	return d.Sum64()
}

// track notes an entry; a nil state removes it. It says which pieces the entry
// had and has.
func (s *savedState) track(key string, state []byte) (before, after int) {
	id := keyHash(key)
	if old, had := s.entries[id]; had {
		s.digest -= old
		before = max(1, s.pieces[id])
		delete(s.pieces, id)
	}
	if state == nil {
		delete(s.entries, id)
		return before, 0
	}
	hash := entryHash(key, state)
	s.digest += hash
	s.entries[id] = hash
	after = max(1, (len(state)+pieceBytes-1)/pieceBytes)
	if after > 1 {
		s.pieces[id] = after
	}
	return before, after
}

// header is what a checkpoint says about itself.
type header struct {
	next       int64
	generation uint64
	lastSeq    int64
	liveUs     int64
	liveSecond int64
	entries    uint64
	digest     uint64
}

const headerVersion = 1

func (h header) record() *telemetry.CheckpointEntry {
	b := []byte{headerVersion}
	b = binary.AppendVarint(b, h.lastSeq)
	b = binary.AppendVarint(b, h.liveUs)
	b = binary.AppendVarint(b, h.liveSecond)
	b = binary.AppendUvarint(b, h.entries)
	b = binary.AppendUvarint(b, h.digest)
	return &telemetry.CheckpointEntry{State: b, Offset: h.next, Generation: h.generation}
}

func readHeader(e *telemetry.CheckpointEntry) (header, error) {
	if len(e.State) == 0 || e.State[0] != headerVersion {
		return header{}, errors.New("cannot read the header of the checkpoint: unknown version")
	}
	r := varints{b: e.State[1:]}
	h := header{next: e.Offset, generation: e.Generation, lastSeq: r.varint(), liveUs: r.varint(), liveSecond: r.varint(), entries: r.uvarint(), digest: r.uvarint()}
	if r.err != nil {
		return header{}, fmt.Errorf("cannot read the header of the checkpoint: %w", r.err)
	}
	return h, nil
}

// due says whether the state has moved far enough from its last checkpoint.
func (p *partition) due(records int, intervalUs int64) bool {
	if p.records == 0 || p.saved.broken {
		return false
	}
	return p.records >= records || p.times.liveUs-p.liveUs >= intervalUs || len(p.saved.stale) > 0
}

// checkpoint gives the records of the next checkpoint; the last one is the
// header. After it the partition counts as saved, so where the transaction
// fails the partition must be thrown away.
func (p *partition) checkpoint() ([]*kgo.Record, error) {
	prefix := checkpointPrefix(p.topic, p.number)
	s := &p.saved
	generation := s.generation + 1
	var records []*kgo.Record
	var failed error
	write := func(key string, entry *telemetry.CheckpointEntry) {
		r := &kgo.Record{Topic: telemetry.TopicCheckpoints, Partition: p.number, Key: []byte(prefix + key)}
		if entry != nil {
			v, err := entry.MarshalVT()
			if err != nil {
				failed = fmt.Errorf("cannot encode checkpoint entry: %w", err)
				return
			}
			r.Value = v
		}
		records = append(records, r)
	}
	for _, key := range s.stale {
		write(key, nil)
	}
	put := func(prefix string) func(string, []byte) {
		return func(key string, state []byte) {
			key = prefix + key
			before, after := s.track(key, state)
			if after > 0 {
				write(key, &telemetry.CheckpointEntry{State: state[:min(len(state), pieceBytes)], Generation: generation, Parts: uint32(after)})
				for n := 1; n < after; n++ {
					write(pieceKey(n, key), &telemetry.CheckpointEntry{State: state[n*pieceBytes : min(len(state), (n+1)*pieceBytes)], Generation: generation})
				}
			} else if before > 0 {
				write(key, nil)
			}
			for n := max(after, 1); n < before; n++ {
				write(pieceKey(n, key), nil)
			}
		}
	}
	if err := guard(func() error { p.machine.Checkpoint(put(machinePrefix)); return nil }); err != nil {
		s.broken = true
		return nil, fmt.Errorf("cannot checkpoint %s/%d: %w", p.topic, p.number, err)
	}
	p.times.checkpoint(put(timelinePrefix))
	write(headerKey, header{
		next: p.next, generation: generation, lastSeq: p.lastSeq,
		liveUs: p.times.liveUs, liveSecond: p.times.liveSecond,
		entries: uint64(len(s.entries)), digest: s.digest,
	}.record())
	if failed != nil {
		s.broken = true
		return nil, failed
	}
	s.generation, s.stale = generation, nil
	p.records, p.liveUs = 0, p.times.liveUs
	return records, nil
}

// savedEntries is what was read from the checkpoint topic for one partition:
// the newest value of each key, without the prefix. Older values do not matter,
// not even when they cannot be read.
type savedEntries map[string][]byte

// add takes one record of the checkpoint partition.
func (s savedEntries) add(prefix string, r *kgo.Record) {
	key, ours := strings.CutPrefix(string(r.Key), prefix)
	switch {
	case !ours:
	case r.Value == nil:
		delete(s, key)
	default:
		s[key] = r.Value
	}
}

// entry reads one value; nil where there is none.
func (s savedEntries) entry(key string) (*telemetry.CheckpointEntry, error) {
	value, ok := s[key]
	if !ok {
		return nil, nil
	}
	e := &telemetry.CheckpointEntry{}
	if err := e.UnmarshalVT(value); err != nil {
		return nil, fmt.Errorf("cannot read checkpoint entry %q: %w", key, err)
	}
	return e, nil
}

// restore puts a checkpoint back into a new partition. It says whether there
// was one. After an error the partition must be thrown away.
func (p *partition) restore(s savedEntries) (found bool, err error) {
	he, err := s.entry(headerKey)
	if err != nil {
		return false, err
	}
	if he == nil {
		if len(s) > 0 {
			return false, errDigest // entries without a header
		}
		return false, nil
	}
	h, err := readHeader(he)
	if err != nil {
		return false, err
	}
	states := map[string][]byte{}
	for key := range s {
		if key == headerKey || strings.HasPrefix(key, "c/") {
			continue
		}
		e, err := s.entry(key)
		if err != nil {
			return false, err
		}
		state := e.State
		if state == nil {
			state = []byte{}
		}
		for n := 1; n < int(e.Parts); n++ {
			piece, err := s.entry(pieceKey(n, key))
			if err != nil {
				return false, err
			}
			if piece == nil {
				return false, errDigest
			}
			state = append(state[:len(state):len(state)], piece.State...)
		}
		states[key] = state
		p.saved.track(key, state)
	}
	if uint64(len(p.saved.entries)) != h.entries || p.saved.digest != h.digest {
		return false, errDigest
	}
	for key, state := range states {
		if id, ok := strings.CutPrefix(key, timelinePrefix); ok {
			t, err := decodeTimeline(id, state)
			if err != nil {
				return false, err
			}
			p.times.restored(t)
			continue
		}
		id, ok := strings.CutPrefix(key, machinePrefix)
		if !ok {
			return false, fmt.Errorf("cannot restore checkpoint entry %q: unknown kind", key)
		}
		if err := guard(func() error { return p.machine.Restore(id, state) }); err != nil {
			return false, fmt.Errorf("cannot restore checkpoint entry %q: %w", key, err)
		}
	}
	p.times.restoredAll()
	p.times.liveUs, p.times.liveSecond = h.liveUs, h.liveSecond
	p.liveUs = h.liveUs
	p.next, p.lastSeq = h.next, h.lastSeq
	p.saved.generation = h.generation
	return true, nil
}

// keys gives the keys that are there, to be deleted.
func (s savedEntries) keys() []string {
	var keys []string
	for k := range s {
		if k != headerKey {
			keys = append(keys, k)
		}
	}
	return keys
}
