package main

import (
	"bytes"
	"testing"

	"github.com/earshot/earshot/directory"
)

// What a command changes in the directory is written down as that command's.
func TestCommandsNameThemselves(t *testing.T) {
	data := t.TempDir()
	d, err := directory.Open(t.Context(), directory.Config{}, data)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	cmd := root()
	cmd.SetOut(&bytes.Buffer{})
	cmd.SetArgs([]string{"keys", "create", "--data", data, "--name", "grafana"})
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	entries, _, err := d.Journal(t.Context(), "", directory.JournalFilter{Action: "key.create"})
	if err != nil || len(entries) != 1 || entries[0].Actor != (directory.Actor{Kind: "system", ID: "earshot", Name: "earshot keys create"}) {
		t.Errorf("%+v %v", entries, err)
	}
}
