package engines

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What kfake keeps in its data directory, as far as recovery and compaction need it:
//
//	topics.json                     names, partitions, configs
//	partitions/TOPIC-N/BASE.dat     record batches (magic 2) one after the other
//	partitions/TOPIC-N/BASE.idx     15 bytes per batch
//	partitions/TOPIC-N/snapshot.json written at a clean end: offsets, segments, aborted transactions
//	groups.log, pids.log            framed JSON entries, the last one of a key counts
//	seq_windows.json                the last sequence numbers of every producer, written at a clean end
//	session_state.json              group members and open transactions, written at a clean end, removed when read

// logVersion is the version of kfake's files that this package reads and writes.
const logVersion = 1

const (
	batchHeaderBytes = 61
	indexEntryBytes  = 15
	entryHeaderBytes = 10

	attrTransactional = 0x10
	attrControl       = 0x20
	attrCompression   = 0x07
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrUnknownLogVersion says that the log was written by a kfake that keeps it in another form.
var ErrUnknownLogVersion = errors.New("the log has a version that is not known")

// batch is the header of one record batch, and where it is.
type batch struct {
	segment int   // index into partition.segments
	pos     int64 // in the segment
	bytes   int64

	baseOffset      int64
	lastOffsetDelta int32
	leaderEpoch     int32
	attributes      int16
	firstTimestamp  int64
	maxTimestamp    int64
	producerID      int64
	producerEpoch   int16
	firstSequence   int32
	records         int32

	control bool
	commit  bool // of a control batch
}

func (b batch) nextOffset() int64 { return b.baseOffset + int64(b.lastOffsetDelta) + 1 }

func (b batch) transactional() bool { return b.attributes&attrTransactional != 0 }

// readBatch reads the batch at the start of raw. It returns false where raw does not begin with a whole batch.
func readBatch(raw []byte) (batch, bool) {
	if len(raw) < batchHeaderBytes {
		return batch{}, false
	}
	be := binary.BigEndian
	length := int64(be.Uint32(raw[8:]))
	if length < batchHeaderBytes-12 || length > math.MaxInt32 || 12+length > int64(len(raw)) || raw[16] != 2 {
		return batch{}, false
	}
	raw = raw[:12+length]
	if be.Uint32(raw[17:]) != crc32.Checksum(raw[21:], castagnoli) {
		return batch{}, false
	}
	b := batch{
		bytes: 12 + length, baseOffset: int64(be.Uint64(raw)), leaderEpoch: int32(be.Uint32(raw[12:])),
		attributes: int16(be.Uint16(raw[21:])), lastOffsetDelta: int32(be.Uint32(raw[23:])),
		firstTimestamp: int64(be.Uint64(raw[27:])), maxTimestamp: int64(be.Uint64(raw[35:])),
		producerID: int64(be.Uint64(raw[43:])), producerEpoch: int16(be.Uint16(raw[51:])),
		firstSequence: int32(be.Uint32(raw[53:])), records: int32(be.Uint32(raw[57:])),
	}
	if b.baseOffset < 0 || b.lastOffsetDelta < 0 || b.records < 0 {
		return batch{}, false
	}
	if b.attributes&attrControl != 0 {
		b.control = true
		var record kmsg.Record
		if err := record.ReadFrom(raw[batchHeaderBytes:]); err != nil || len(record.Key) < 4 {
			return batch{}, false
		}
		b.commit = be.Uint16(record.Key[2:]) == uint16(kmsg.ControlRecordKeyTypeCommit)
	}
	return b, true
}

// readBatches reads the batches of a segment and returns how many bytes they take: what follows was torn off.
func readBatches(raw []byte, segment int) (batches []batch, valid int64) {
	for {
		b, ok := readBatch(raw[valid:])
		if !ok {
			return batches, valid
		}
		b.segment, b.pos = segment, valid
		batches = append(batches, b)
		valid += b.bytes
	}
}

// indexEntry is what kfake keeps beside a batch.
func indexEntry(b batch) []byte {
	entry := make([]byte, indexEntryBytes)
	entry[0] = logVersion
	binary.LittleEndian.PutUint32(entry[2:], uint32(b.leaderEpoch))
	binary.LittleEndian.PutUint64(entry[6:], uint64(b.maxTimestamp)) // kfake computes the real value when it loads
	if b.transactional() && !b.control {
		entry[14] = 1
	}
	entry[1] = byte(crc32.Checksum(entry[2:], castagnoli))
	return entry
}

// encodeBatch appends the wire form of a batch after setting its length and checksum.
func encodeBatch(dst []byte, b kmsg.RecordBatch) []byte {
	start := len(dst)
	dst = b.AppendTo(dst)
	raw := dst[start:]
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], castagnoli))
	return dst
}

// marker is the control batch that ends a producer's transaction on a partition.
func marker(offset int64, leaderEpoch int32, producerID int64, producerEpoch int16, commit bool, nowMs int64) []byte {
	key := kmsg.ControlRecordKey{Type: kmsg.ControlRecordKeyTypeAbort}
	if commit {
		key.Type = kmsg.ControlRecordKeyTypeCommit
	}
	record := kmsg.Record{Key: key.AppendTo(nil), Value: (&kmsg.EndTxnMarker{}).AppendTo(nil)}
	record.Length = int32(len(record.AppendTo(nil)) - 1) // without the length itself, which takes one byte here
	return encodeBatch(nil, kmsg.RecordBatch{
		FirstOffset: offset, PartitionLeaderEpoch: leaderEpoch, Magic: 2, Attributes: attrControl | attrTransactional,
		FirstTimestamp: nowMs, MaxTimestamp: nowMs, ProducerID: producerID, ProducerEpoch: producerEpoch,
		FirstSequence: -1, NumRecords: 1, Records: record.AppendTo(nil),
	})
}

// eachRecord decodes the records of the batch that raw is.
func eachRecord(raw []byte, fn func(kmsg.Record) error) error {
	var b kmsg.RecordBatch
	if err := b.ReadFrom(raw); err != nil {
		return err
	}
	records, err := kgo.DefaultDecompressor().Decompress(b.Records, kgo.CompressionCodecType(b.Attributes&attrCompression))
	if err != nil {
		return err
	}
	for range b.NumRecords {
		record := kmsg.NewRecord()
		if err := record.ReadFrom(records); err != nil {
			return err
		}
		if err := fn(record); err != nil {
			return err
		}
		length, n := binary.Varint(records)
		if n <= 0 || length < 0 || int64(n)+length > int64(len(records)) {
			return errors.New("a record is longer than its batch")
		}
		records = records[int64(n)+length:]
	}
	return nil
}

// readEntries reads the entries of groups.log and pids.log, and how many bytes are good.
func readEntries(raw []byte) (entries [][]byte, valid int) {
	le := binary.LittleEndian
	for valid+entryHeaderBytes <= len(raw) {
		length := int(le.Uint32(raw[valid:]))
		if length < 2 || length > len(raw)-valid-8 {
			break
		}
		body := raw[valid+8 : valid+8+length]
		if crc32.Checksum(body, castagnoli) != le.Uint32(raw[valid+4:]) || le.Uint16(body) != logVersion {
			break
		}
		entries = append(entries, body[2:])
		valid += 8 + length
	}
	return entries, valid
}

func appendEntry(dst []byte, value any) ([]byte, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return dst, err
	}
	body := binary.LittleEndian.AppendUint16(nil, logVersion)
	body = append(body, data...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(body)))
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(body, castagnoli))
	return append(dst, body...), nil
}

// topicEntry is a topic of topics.json.
type topicEntry struct {
	Name       string            `json:"name"`
	ID         []byte            `json:"id"`
	Partitions int               `json:"partitions"`
	Configs    map[string]string `json:"configs"`
}

func (t topicEntry) compacted() bool { return strings.Contains(t.Configs["cleanup.policy"], "compact") }

func (t topicEntry) number(config string, otherwise int64) int64 {
	if n, err := strconv.ParseInt(t.Configs[config], 10, 64); err == nil {
		return n
	}
	return otherwise
}

func readTopics(dir string) ([]topicEntry, error) {
	var file struct {
		Version int          `json:"version"`
		Topics  []topicEntry `json:"topics"`
	}
	if err := readJSON(filepath.Join(dir, "topics.json"), &file); err != nil || file.Version == 0 {
		return nil, err
	}
	if file.Version != logVersion {
		return nil, fmt.Errorf("topics.json: %w: %d", ErrUnknownLogVersion, file.Version)
	}
	return file.Topics, nil
}

// readJSON leaves v alone where the file does not exist.
func readJSON(path string, v any) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return nil
}

func writeJSON(path string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeFileAtomic(path, raw, 0o600)
}

func partitionDir(dir, topic string, partition int) string {
	return filepath.Join(dir, "partitions", url.PathEscape(topic)+"-"+strconv.Itoa(partition))
}

// segmentBases are the base offsets of the segments in a partition's directory, ascending.
func segmentBases(dir string) ([]int64, error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var bases []int64
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), ".dat"); ok {
			if base, err := strconv.ParseInt(name, 10, 64); err == nil && base >= 0 {
				bases = append(bases, base)
			}
		}
	}
	slices.Sort(bases)
	return bases, nil
}

func segmentPath(dir string, base int64) string {
	return filepath.Join(dir, strconv.FormatInt(base, 10)+".dat")
}
func indexPath(dir string, base int64) string {
	return filepath.Join(dir, strconv.FormatInt(base, 10)+".idx")
}

// snapshot is snapshot.json of a partition.
type snapshot struct {
	Version          int               `json:"version"`
	HighWatermark    int64             `json:"high_watermark"`
	LastStableOffset int64             `json:"last_stable_offset"`
	LogStartOffset   int64             `json:"log_start_offset"`
	Epoch            int32             `json:"epoch"`
	LeaderNode       int32             `json:"leader_node,omitempty"`
	MaxTimestamp     int64             `json:"max_timestamp"`
	CreatedAt        time.Time         `json:"created_at"`
	AbortedTxns      []abortedTxn      `json:"aborted_txns,omitempty"`
	Segments         []snapshotSegment `json:"segments"`
}

type abortedTxn struct {
	ProducerID  int64 `json:"producer_id"`
	FirstOffset int64 `json:"first_offset"`
	LastOffset  int64 `json:"last_offset"`
}

type snapshotSegment struct {
	BaseOffset int64 `json:"base_offset"`
	Size       int64 `json:"size"`
	MinEpoch   int32 `json:"min_epoch,omitempty"`
	MaxEpoch   int32 `json:"max_epoch,omitempty"`
}

// writeFileSync writes a new file whose bytes are on the disk when it returns.
func writeFileSync(path string, content []byte) error {
	return writeSync(path, os.O_TRUNC, content, 0o600)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
