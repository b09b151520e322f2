// Package webhook tells subscribers of events over HTTP, as Standard Webhooks
// has it: https://www.standardwebhooks.com.
//
// It has two halves with the directory's database between them. Taking reads
// committed outcomes from Kafka and deleted devices from the directory's
// journal, holds them against the subscriptions and stores deliveries, in one
// transaction with how far it has read: every event is taken once. Sending
// makes requests until each delivery is answered with 2xx or a day has passed.
// What is pending is in the database only, however much it is.
//
// Of all processes that run this, each takes events of its partitions; one
// sends, and another begins when that one is gone.
package webhook
