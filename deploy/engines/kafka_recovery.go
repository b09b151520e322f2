package engines

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Why the log is put in order before the broker reads it again.
//
// kfake writes every acknowledged batch to disk, but what it makes of them after a crash is not what a Kafka broker
// does, and Earshot counts on that (pinned version; each point was seen in its source and has a test here):
//
//   - It forgets the sequence numbers of producers, or takes those of the last clean end: a batch that was written but
//     not yet acknowledged is stored a second time when its producer sends it again.
//   - It ends an open transaction in memory only. Without an abort marker in the log a reader drops the producer's
//     next, committed transaction with it, and after a second crash the aborted one counts as committed.
//   - It commits a transaction in many writes: a marker per partition, then the offsets of the groups. A crash in
//     between commits a part.
//   - It leaves a torn entry in groups.log and pids.log and appends after it: everything later is unreadable.
//   - A batch whose index entry was not written any more shifts those of all later batches, among them the flag that
//     makes a batch part of a transaction.
//
// So: the children end cleanly where they can and say so in a file; where that file is missing, recoverLog does what a
// broker does: it cuts off what is torn, finishes the commit that had begun, aborts what was open, fences the
// transactional producers, and rebuilds the sequence numbers from the log.

// cleanEndFile is there while no broker runs and the last one ended cleanly.
const cleanEndFile = "earshot-clean-end"

// commitIntent is the commit that the broker was told to do last; it is written down before the broker begins.
type commitIntent struct {
	TransactionalID string         `json:"txid"`
	ProducerID      int64          `json:"pid"`
	ProducerEpoch   int16          `json:"epoch"`
	Offsets         []stagedOffset `json:"offsets"`
}

// stagedOffset is a group's offset that takes effect when a transaction commits.
type stagedOffset struct {
	Group       string  `json:"g"`
	Topic       string  `json:"t"`
	Partition   int32   `json:"p"`
	Offset      int64   `json:"o"`
	LeaderEpoch int32   `json:"e"`
	Metadata    *string `json:"m"`
}

const commitIntentFile = "earshot-commit.json"

// groupEntry is an entry of groups.log that holds a committed offset.
type groupEntry struct {
	Type        string  `json:"type"`
	Group       string  `json:"g"`
	Topic       string  `json:"t"`
	Partition   int32   `json:"p"`
	Offset      int64   `json:"o"`
	LeaderEpoch int32   `json:"e"`
	Metadata    *string `json:"m,omitempty"`
	LastCommit  *int64  `json:"lc,omitempty"` // Unix milliseconds
}

// producerEntry is an entry of pids.log: init, endtx or timeout.
type producerEntry struct {
	Type      string `json:"type"`
	ID        int64  `json:"pid"`
	Epoch     int16  `json:"epoch"`
	TxID      string `json:"txid,omitempty"`
	TimeoutMs int32  `json:"timeout,omitempty"`
	Commit    *bool  `json:"commit,omitempty"`
}

// producer is what pids.log says about a transactional producer.
type producer struct {
	epoch     int16
	txID      string
	timeoutMs int32
	ended     map[int16]bool // epochs whose transaction was ended
}

// sequenceWindow is an entry of seq_windows.json: the last five batches of a producer on a partition.
type sequenceWindow struct {
	ProducerID int64            `json:"pid"`
	Topic      string           `json:"topic"`
	Partition  int32            `json:"partition"`
	Entries    [5]sequenceEntry `json:"entries"`
	Count      uint8            `json:"count"`
	At         uint8            `json:"at"`
	Epoch      int16            `json:"epoch"`
	Seen       bool             `json:"seen"`
	NextSeq    int32            `json:"next_seq"`
}

type sequenceEntry struct {
	FirstSeq int32 `json:"first_seq"`
	NextSeq  int32 `json:"next_seq"`
	Offset   int64 `json:"offset"`
}

func (w *sequenceWindow) add(b batch) {
	// Sequence numbers wrap around as kfake has them wrap.
	next := int32((int64(b.firstSequence) + int64(b.records)) % math.MaxInt32)
	if !w.Seen || w.Epoch != b.producerEpoch {
		w.Entries, w.Count, w.At = [5]sequenceEntry{}, 0, 0
	}
	w.Seen, w.Epoch, w.NextSeq = true, b.producerEpoch, next
	w.Entries[w.At] = sequenceEntry{b.firstSequence, next, b.baseOffset}
	w.At = (w.At + 1) % 5
	w.Count = min(w.Count+1, 5)
}

type windowKey struct {
	producerID int64
	topic      string
	partition  int32
}

// beginLog is called before a broker opens the log. It puts the log in order if the last broker did not end cleanly,
// and takes note that one runs now.
func beginLog(dir string, log *slog.Logger) error {
	if err := finishCompactions(dir); err != nil {
		return fmt.Errorf("cannot finish the compaction of the Kafka log: %w", err)
	}
	clean := filepath.Join(dir, cleanEndFile)
	err := os.Remove(clean)
	switch {
	case err == nil:
		return syncDir(dir)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("cannot open the Kafka log: %w", err)
	}
	started := time.Now()
	report, err := recoverLog(dir, time.Now())
	if err != nil {
		return fmt.Errorf("cannot recover the Kafka log: %w", err)
	}
	if report.partitions > 0 {
		log.Warn("the Kafka log was not closed, it has been recovered", "partitions", report.partitions, "batches", report.batches,
			"torn_bytes", report.tornBytes, "aborted_transactions", report.aborted, "finished_commits", report.committed,
			"fenced_producers", report.fenced, "seconds", time.Since(started).Seconds())
	}
	return nil
}

// endLog is called after a broker has closed the log and written its state.
func endLog(dir string) error {
	if err := writeFileSync(filepath.Join(dir, cleanEndFile), nil); err != nil {
		return fmt.Errorf("cannot note the clean end of the Kafka log: %w", err)
	}
	return syncDir(dir)
}

type recoveryReport struct {
	partitions, batches, aborted, committed, fenced int
	tornBytes                                       int64
}

func recoverLog(dir string, now time.Time) (recoveryReport, error) {
	var report recoveryReport
	topics, err := readTopics(dir)
	if err != nil || len(topics) == 0 {
		return report, err
	}
	producers, err := recoverProducers(dir, &report)
	if err != nil {
		return report, err
	}
	// The commit that was under way, unless the broker noted its end.
	var intent *commitIntent
	if err := readJSON(filepath.Join(dir, commitIntentFile), &intent); err != nil {
		intent = nil // torn: the broker had not begun
	}
	if intent != nil {
		p := producers[intent.ProducerID]
		if p == nil || p.epoch > intent.ProducerEpoch || p.ended[intent.ProducerEpoch] {
			intent = nil
		}
	}

	windows := map[windowKey]*sequenceWindow{}
	for _, topic := range topics {
		for partition := range topic.Partitions {
			err := recoverPartition(partitionDir(dir, topic.Name, partition), now, intent, &report, func(b batch) {
				if b.control || b.producerID < 0 {
					return
				}
				key := windowKey{b.producerID, topic.Name, int32(partition)}
				w := windows[key]
				if w == nil {
					w = &sequenceWindow{ProducerID: b.producerID, Topic: topic.Name, Partition: int32(partition)}
					windows[key] = w
				}
				w.add(b)
			})
			if err != nil {
				return report, fmt.Errorf("partition %d of %s: %w", partition, topic.Name, err)
			}
		}
	}
	if err := recoverWindows(dir, windows); err != nil {
		return report, err
	}
	// Offsets before the end of the transaction: a crash of this recovery repeats it whole.
	if err := recoverGroups(dir, intent, now, &report); err != nil {
		return report, err
	}
	if err := fenceProducers(dir, producers, intent, &report); err != nil {
		return report, err
	}
	// What it says about members and open transactions belongs to a clean end.
	if err := os.Remove(filepath.Join(dir, "session_state.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return report, err
	}
	return report, nil
}

// openTxn is a producer's transaction that has no marker yet on a partition.
type openTxn struct {
	producerID  int64
	epoch       int16
	firstOffset int64
	lastBatch   batch
}

// recoverPartition makes the segments whole, ends the open transactions and writes the snapshot that the broker
// loads. It calls each for every batch, in order.
func recoverPartition(dir string, now time.Time, intent *commitIntent, report *recoveryReport, each func(batch)) error {
	bases, err := segmentBases(dir)
	if err != nil || len(bases) == 0 {
		return err
	}
	report.partitions++
	var before snapshot
	if err := readJSON(filepath.Join(dir, "snapshot.json"), &before); err != nil {
		before = snapshot{}
	}
	snap := snapshot{Version: logVersion, LogStartOffset: -1, LeaderNode: before.LeaderNode, Epoch: before.Epoch}
	open := map[int64]*openTxn{}
	var last batch
	for i, base := range bases {
		raw, err := os.ReadFile(segmentPath(dir, base))
		if err != nil {
			return err
		}
		batches, valid := readBatches(raw, i)
		if torn := int64(len(raw)) - valid; torn > 0 {
			report.tornBytes += torn
			if err := os.Truncate(segmentPath(dir, base), valid); err != nil {
				return err
			}
		}
		if len(batches) == 0 {
			if err := errors.Join(os.Remove(segmentPath(dir, base)), removeIfThere(indexPath(dir, base))); err != nil {
				return err
			}
			continue
		}
		report.batches += len(batches)
		if err := recoverIndex(indexPath(dir, base), batches); err != nil {
			return err
		}
		segment := snapshotSegment{BaseOffset: base, Size: valid, MinEpoch: batches[0].leaderEpoch, MaxEpoch: batches[0].leaderEpoch}
		for _, b := range batches {
			each(b)
			last = b
			segment.MinEpoch, segment.MaxEpoch = min(segment.MinEpoch, b.leaderEpoch), max(segment.MaxEpoch, b.leaderEpoch)
			snap.Epoch = max(snap.Epoch, b.leaderEpoch)
			snap.MaxTimestamp = max(snap.MaxTimestamp, b.maxTimestamp)
			if snap.LogStartOffset < 0 {
				snap.LogStartOffset, snap.CreatedAt = b.baseOffset, time.UnixMilli(b.firstTimestamp).UTC()
			}
			snap.HighWatermark = b.nextOffset()
			t := open[b.producerID]
			switch {
			case !b.transactional():
			case !b.control && t == nil:
				open[b.producerID] = &openTxn{b.producerID, b.producerEpoch, b.baseOffset, b}
			case !b.control:
				t.lastBatch, t.epoch = b, b.producerEpoch
			case t != nil:
				if !b.commit {
					snap.AbortedTxns = append(snap.AbortedTxns, abortedTxn{b.producerID, t.firstOffset, b.baseOffset})
				}
				delete(open, b.producerID)
			}
		}
		snap.Segments = append(snap.Segments, segment)
	}
	if len(snap.Segments) == 0 {
		return removeIfThere(filepath.Join(dir, "snapshot.json"))
	}

	ends := make([]*openTxn, 0, len(open))
	for _, t := range open {
		ends = append(ends, t)
	}
	slices.SortFunc(ends, func(a, b *openTxn) int { return cmp.Compare(a.firstOffset, b.firstOffset) })
	active := &snap.Segments[len(snap.Segments)-1]
	for _, t := range ends {
		commit := intent != nil && intent.ProducerID == t.producerID && intent.ProducerEpoch == t.epoch
		raw := marker(snap.HighWatermark, last.leaderEpoch, t.producerID, t.epoch, commit, now.UnixMilli())
		b, ok := readBatch(raw)
		if !ok {
			return errors.New("the marker of a transaction cannot be read back")
		}
		if err := appendSync(segmentPath(dir, active.BaseOffset), raw); err != nil {
			return err
		}
		if err := appendSync(indexPath(dir, active.BaseOffset), indexEntry(b)); err != nil {
			return err
		}
		if commit {
			report.committed++
		} else {
			report.aborted++
			snap.AbortedTxns = append(snap.AbortedTxns, abortedTxn{t.producerID, t.firstOffset, b.baseOffset})
		}
		active.Size += int64(len(raw))
		snap.HighWatermark = b.nextOffset()
		snap.MaxTimestamp = max(snap.MaxTimestamp, b.maxTimestamp)
	}
	slices.SortFunc(snap.AbortedTxns, func(a, b abortedTxn) int { return cmp.Compare(a.LastOffset, b.LastOffset) })
	snap.LastStableOffset = snap.HighWatermark
	// Records that were deleted from within the first segment stay deleted.
	if before.LogStartOffset > snap.LogStartOffset && before.LogStartOffset <= snap.HighWatermark {
		snap.LogStartOffset = before.LogStartOffset
	}
	return writeJSON(filepath.Join(dir, "snapshot.json"), snap)
}

// recoverIndex makes the index fit the batches.
func recoverIndex(path string, batches []batch) error {
	have, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(have) == len(batches)*indexEntryBytes {
		return nil
	}
	var want []byte
	for _, b := range batches {
		want = append(want, indexEntry(b)...)
	}
	return writeFileAtomic(path, want, 0o600)
}

// recoverProducers cuts pids.log to what can be read and returns what it says about transactional producers.
func recoverProducers(dir string, report *recoveryReport) (map[int64]*producer, error) {
	entries, err := cutEntries(filepath.Join(dir, "pids.log"), report)
	if err != nil {
		return nil, err
	}
	producers := map[int64]*producer{}
	for _, raw := range entries {
		var e producerEntry
		if err := json.Unmarshal(raw, &e); err != nil {
			return nil, fmt.Errorf("pids.log: %w", err)
		}
		p := producers[e.ID]
		switch {
		case e.Type == "init" && e.TxID != "":
			if p == nil {
				p = &producer{ended: map[int16]bool{}}
				producers[e.ID] = p
			}
			p.epoch, p.txID, p.timeoutMs = e.Epoch, e.TxID, e.TimeoutMs
		case e.Type != "init" && p != nil:
			p.epoch = e.Epoch
			if e.Type == "endtx" {
				p.ended[e.Epoch] = true
			}
		}
	}
	return producers, nil
}

// fenceProducers raises the epoch of every transactional producer. The broker has forgotten which offsets a producer
// had staged, and would report success for a commit that no longer holds them. The producer of the finished commit gets
// the epoch that the broker would have given it, so its retried commit succeeds.
func fenceProducers(dir string, producers map[int64]*producer, intent *commitIntent, report *recoveryReport) error {
	var out []byte
	for id, p := range producers {
		if p.epoch == math.MaxInt16 {
			continue
		}
		finished := intent != nil && intent.ProducerID == id
		entry := producerEntry{Type: "init", ID: id, Epoch: p.epoch + 1, TxID: p.txID, TimeoutMs: p.timeoutMs, Commit: &finished}
		var err error
		if out, err = appendEntry(out, entry); err != nil {
			return err
		}
		report.fenced++
	}
	if len(out) == 0 {
		return nil
	}
	return appendSync(filepath.Join(dir, "pids.log"), out)
}

// recoverGroups cuts groups.log to what can be read and adds the offsets of the commit that is being finished.
func recoverGroups(dir string, intent *commitIntent, now time.Time, report *recoveryReport) error {
	path := filepath.Join(dir, "groups.log")
	if _, err := cutEntries(path, report); err != nil || intent == nil || len(intent.Offsets) == 0 {
		return err
	}
	var out []byte
	nowMs := now.UnixMilli()
	for _, o := range intent.Offsets {
		var err error
		if out, err = appendEntry(out, groupEntry{Type: "commit", Group: o.Group, Topic: o.Topic, Partition: o.Partition,
			Offset: o.Offset, LeaderEpoch: o.LeaderEpoch, Metadata: o.Metadata, LastCommit: &nowMs}); err != nil {
			return err
		}
	}
	return appendSync(path, out)
}

// recoverWindows writes the sequence numbers of the log, and keeps those of producers whose batches are gone from it.
func recoverWindows(dir string, windows map[windowKey]*sequenceWindow) error {
	path := filepath.Join(dir, "seq_windows.json")
	file := struct {
		Version int               `json:"version"`
		Windows []*sequenceWindow `json:"windows"`
	}{}
	if err := readJSON(path, &file); err != nil {
		file.Windows = nil
	}
	merged := windows
	for _, w := range file.Windows {
		key := windowKey{w.ProducerID, w.Topic, w.Partition}
		if merged[key] == nil {
			merged[key] = w
		}
	}
	file.Version, file.Windows = logVersion, nil
	for _, w := range merged {
		file.Windows = append(file.Windows, w)
	}
	return writeJSON(path, file)
}

// cutEntries reads a log of entries and removes what was torn off at its end.
func cutEntries(path string, report *recoveryReport) ([][]byte, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, valid := readEntries(raw)
	if valid < len(raw) {
		report.tornBytes += int64(len(raw) - valid)
		if err := os.Truncate(path, int64(valid)); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

func appendSync(path string, content []byte) error {
	return writeSync(path, os.O_APPEND, content, 0o600)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
