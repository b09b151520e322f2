package engines

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kfake's own compaction and retention are switched off. Its compaction removes the old segments before it writes the
// new ones, and lets a record of a transaction that is still open take the place of a committed one. Its retention can
// empty a partition, after which a restart begins again at offset 0. What stands in their place:
//
//   - compactLog rewrites a compacted topic while no broker has the log open, beside the old files, and puts the new
//     directory in place with a rename. The child does that before it opens the log, and closes the broker for a moment
//     when there is much to gain.
//   - expired finds the segments that retention gives up, as Kafka does it: whole ones, and never the last.

// Suffixes of a partition's directory during a compaction. A directory of kfake's ends in a number.
const (
	compactedSuffix = ".compacted"
	replacedSuffix  = ".replaced"
)

const (
	// A compacted topic below this size is left alone.
	minCompactBytes = 4 << 20
	// The broker is closed to compact when the compacted topics have grown by this much, and have tripled.
	liveCompactBytes = 64 << 20
	defaultRetention = 7 * 24 * time.Hour
	// Kafka's default of delete.retention.ms: how long a tombstone is kept, for readers to see it.
	defaultTombstoneRetention = 24 * time.Hour
)

// finishCompactions completes or takes back what a crash interrupted. The snapshot in a compacted directory is written
// last, and a directory is moved away only when its successor is complete.
func finishCompactions(dir string) error {
	parts := filepath.Join(dir, "partitions")
	entries, err := os.ReadDir(parts)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), replacedSuffix); ok {
			path := filepath.Join(parts, name)
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
				if err := os.Rename(path+compactedSuffix, path); err != nil {
					return err
				}
			}
			if err := os.RemoveAll(path + replacedSuffix); err != nil {
				return err
			}
		}
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), compactedSuffix) {
			if err := os.RemoveAll(filepath.Join(parts, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// compactedBytes is the size of all compacted topics.
func compactedBytes(dir string) (int64, error) {
	topics, err := readTopics(dir)
	if err != nil {
		return 0, err
	}
	var total int64
	for _, topic := range topics {
		if !topic.compacted() {
			continue
		}
		for partition := range topic.Partitions {
			n, err := partitionBytes(partitionDir(dir, topic.Name, partition))
			if err != nil {
				return 0, err
			}
			total += n
		}
	}
	return total, nil
}

func partitionBytes(path string) (int64, error) {
	bases, err := segmentBases(path)
	if err != nil {
		return 0, err
	}
	var total int64
	for _, base := range bases {
		info, err := os.Stat(segmentPath(path, base))
		if errors.Is(err, fs.ErrNotExist) {
			continue // retention took it
		}
		if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	return total, nil
}

// compactLog compacts every compacted topic of a log that no broker has open. It returns the bytes it gained.
func compactLog(dir string, now time.Time, minBytes int64) (int64, error) {
	topics, err := readTopics(dir)
	if err != nil {
		return 0, err
	}
	var gained int64
	for _, topic := range topics {
		if !topic.compacted() {
			continue
		}
		var size int64
		for partition := range topic.Partitions {
			n, err := partitionBytes(partitionDir(dir, topic.Name, partition))
			if err != nil {
				return gained, err
			}
			size += n
		}
		if size < minBytes {
			continue
		}
		tombstones := time.Duration(topic.number("delete.retention.ms", defaultTombstoneRetention.Milliseconds())) * time.Millisecond
		for partition := range topic.Partitions {
			n, err := compactPartition(partitionDir(dir, topic.Name, partition), now.Add(-tombstones))
			if err != nil {
				return gained, fmt.Errorf("partition %d of %s: %w", partition, topic.Name, err)
			}
			gained += n
		}
	}
	return gained, nil
}

// compactPartition keeps the newest committed record of every key, without tombstones older than dropTombstones. It
// leaves alone what lies above the last stable offset, and the last batch, which holds the partition's next offset.
func compactPartition(dir string, dropTombstones time.Time) (gained int64, err error) {
	var snap snapshot
	if err := readJSON(filepath.Join(dir, "snapshot.json"), &snap); err != nil || snap.Version != logVersion || len(snap.Segments) == 0 {
		return 0, err
	}
	aborted := func(b batch) bool {
		for _, a := range snap.AbortedTxns {
			if a.ProducerID == b.producerID && a.FirstOffset <= b.baseOffset && b.baseOffset <= a.LastOffset {
				return true
			}
		}
		return false
	}
	var total int64
	eachBatch := func(fn func(b batch, raw []byte, verbatim bool) error) error {
		for i, segment := range snap.Segments {
			raw, err := os.ReadFile(segmentPath(dir, segment.BaseOffset))
			if err != nil {
				return err
			}
			batches, valid := readBatches(raw, i)
			if valid != segment.Size || valid != int64(len(raw)) {
				return fmt.Errorf("segment %d does not fit its snapshot", segment.BaseOffset)
			}
			for j, b := range batches {
				last := i == len(snap.Segments)-1 && j == len(batches)-1
				if err := fn(b, raw[b.pos:b.pos+b.bytes], last || b.nextOffset() > snap.LastStableOffset); err != nil {
					return err
				}
			}
		}
		return nil
	}

	newest := map[string]int64{} // key → offset
	err = eachBatch(func(b batch, raw []byte, verbatim bool) error {
		total += b.bytes
		if b.control || aborted(b) || b.nextOffset() > snap.LastStableOffset {
			return nil
		}
		return eachRecord(raw, func(r kmsg.Record) error {
			if r.Key != nil {
				newest[string(r.Key)] = b.baseOffset + int64(r.OffsetDelta)
			}
			return nil
		})
	})
	if err != nil {
		return 0, err
	}

	fresh := dir + compactedSuffix
	if err := errors.Join(os.RemoveAll(fresh), os.MkdirAll(fresh, 0o755)); err != nil {
		return 0, err
	}
	var (
		segments       []snapshotSegment
		content, index []byte
		base           = int64(-1)
		kept           int64
	)
	flush := func() error {
		if base < 0 {
			return nil
		}
		segments = append(segments, snapshotSegment{BaseOffset: base, Size: int64(len(content)), MinEpoch: 0, MaxEpoch: snap.Epoch})
		err := errors.Join(writeFileSync(segmentPath(fresh, base), content), writeFileSync(indexPath(fresh, base), index))
		kept += int64(len(content))
		content, index, base = nil, nil, -1
		return err
	}
	add := func(raw []byte) error {
		b, ok := readBatch(raw)
		if !ok {
			return errors.New("a batch cannot be read back")
		}
		if base < 0 {
			base = b.baseOffset
		}
		content, index = append(content, raw...), append(index, indexEntry(b)...)
		if len(content) >= segmentBytes {
			return flush()
		}
		return nil
	}
	err = eachBatch(func(b batch, raw []byte, verbatim bool) error {
		switch {
		case verbatim:
			return add(raw)
		case b.control || aborted(b):
			return nil
		}
		var keep []kmsg.Record
		err := eachRecord(raw, func(r kmsg.Record) error {
			if r.Key == nil || newest[string(r.Key)] != b.baseOffset+int64(r.OffsetDelta) {
				return nil
			}
			if r.Value == nil && time.UnixMilli(b.firstTimestamp+r.TimestampDelta64).Before(dropTombstones) {
				return nil
			}
			keep = append(keep, r)
			return nil
		})
		if err != nil || len(keep) == 0 {
			return err
		}
		return add(committedBatch(b, keep))
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		os.RemoveAll(fresh)
		return 0, err
	}
	if kept >= total {
		return 0, os.RemoveAll(fresh)
	}
	after := snap
	after.Segments, after.AbortedTxns = segments, nil
	for _, a := range snap.AbortedTxns {
		if a.LastOffset >= snap.LastStableOffset {
			after.AbortedTxns = append(after.AbortedTxns, a)
		}
	}
	if err := writeJSON(filepath.Join(fresh, "snapshot.json"), after); err != nil {
		return 0, err
	}
	if err := syncDir(fresh); err != nil {
		return 0, err
	}
	for _, step := range []func() error{
		func() error { return os.Rename(dir, dir+replacedSuffix) },
		func() error { return os.Rename(fresh, dir) },
		func() error { return syncDir(filepath.Dir(dir)) },
		func() error { return os.RemoveAll(dir + replacedSuffix) },
	} {
		if err := step(); err != nil {
			return 0, err
		}
	}
	return total - kept, nil
}

// committedBatch holds records of b that are committed, as a batch that belongs to no transaction any more.
func committedBatch(b batch, records []kmsg.Record) []byte {
	out := kmsg.RecordBatch{
		FirstOffset: b.baseOffset, PartitionLeaderEpoch: b.leaderEpoch, Magic: 2,
		Attributes:      b.attributes &^ (attrCompression | attrTransactional),
		LastOffsetDelta: records[len(records)-1].OffsetDelta,
		FirstTimestamp:  b.firstTimestamp, MaxTimestamp: b.firstTimestamp,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(len(records)),
	}
	var plain []byte
	for _, r := range records {
		plain = r.AppendTo(plain)
		out.MaxTimestamp = max(out.MaxTimestamp, b.firstTimestamp+r.TimestampDelta64)
	}
	out.Records = plain
	if compressor, err := kgo.DefaultCompressor(kgo.ZstdCompression()); err == nil && compressor != nil {
		var buf bytes.Buffer
		if packed, codec := compressor.Compress(&buf, plain); len(packed) < len(plain) {
			out.Records, out.Attributes = packed, out.Attributes|int16(codec)
		}
	}
	return encodeBatch(nil, out)
}

// expired returns the offset below which retention gives up a partition's records, or 0.
func expired(dir string, topic topicEntry, partition int, now time.Time) (int64, error) {
	if topic.compacted() && !strings.Contains(topic.Configs["cleanup.policy"], "delete") {
		return 0, nil
	}
	maxAge := time.Duration(math.MaxInt64)
	if ms := topic.number("retention.ms", defaultRetention.Milliseconds()); ms >= 0 && ms < int64(maxAge/time.Millisecond) {
		maxAge = time.Duration(ms) * time.Millisecond
	}
	maxBytes := topic.number("retention.bytes", -1)
	path := partitionDir(dir, topic.Name, partition)
	bases, err := segmentBases(path)
	if err != nil || len(bases) < 2 {
		return 0, err
	}
	excess := int64(-1)
	if maxBytes >= 0 {
		total, err := partitionBytes(path)
		if err != nil {
			return 0, err
		}
		excess = total - maxBytes
	}
	var cut int64
	for i, base := range bases[:len(bases)-1] {
		info, err := os.Stat(filepath.Join(path, strconv.FormatInt(base, 10)+".dat"))
		if err != nil {
			return cut, err
		}
		// A segment's file was changed last when its last record was received.
		if now.Sub(info.ModTime()) <= maxAge && excess < info.Size() {
			break
		}
		excess -= info.Size()
		cut = bases[i+1]
	}
	return cut, nil
}
