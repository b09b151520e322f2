// Package engines runs the ClickHouse and Kafka engines that `earshot up` needs where none is configured.
//
// Each engine is a child process of its own: the program started again with the hidden subcommand `engine`.
// ClickHouse is the real engine, loaded as a shared library (libchdb) into the child; Kafka is franz-go's kfake
// broker, with its log on disk. Both listen on loopback only and live no longer than the process that started
// them: their standard input is a pipe that only the parent holds open.
//
// A crash of either engine must lose nothing that was acknowledged, so the child is started again on the same
// port and its clients carry on. See kafka_recovery.go and
// clickhouse_recovery.go for what their files need after a crash.
package engines
