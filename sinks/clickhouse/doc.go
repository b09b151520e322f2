// Package clickhouse keeps outcomes in ClickHouse: the schema, as numbered
// migrations, and the writer, which stores every committed outcome once.
//
// How once is reached. A batch is one range of offsets of one partition. The
// range is written into the metadata of the group's offset commit before
// anything is inserted; every insert carries a deduplication token made of the
// range and the table; then the offset moves behind the range. Whoever owns the
// partition next reads the metadata, fetches exactly that range and inserts it
// with the same tokens: ClickHouse drops what it has. The time and size that
// end a batch are therefore free, and a late insert of a member that lost its
// partition is harmless.
package clickhouse
