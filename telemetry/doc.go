// Package telemetry is the record model that the roles of Earshot share: the
// messages on Kafka, their topics and keys. Every other package may import it;
// it imports none of them.
package telemetry

//go:generate protoc --go_out=.. --go_opt=module=github.com/earshot/earshot --go-vtproto_out=.. --go-vtproto_opt=module=github.com/earshot/earshot,features=marshal+unmarshal+size -I .. telemetry/telemetry.proto telemetry/directory.proto
