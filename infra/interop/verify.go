// Verifies with Go's own packages what the endpoints of the sealed log answered: the files of a folder.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func read(name string) string { return string(must(os.ReadFile(os.Args[1] + "/" + name))) }

// What a signed checkpoint says. tlog.ParseTree reads the checksum database's own alone.
func tree(vkey, message string) (tree tlog.Tree) {
	verified := must(note.Open([]byte(message), note.VerifierList(must(note.NewVerifier(vkey)))))
	var origin, root string
	must(fmt.Sscan(verified.Text, &origin, &tree.N, &root))
	tree.Hash = must(tlog.ParseHash(root))
	return tree
}

func hashes(texts []string) (hashes []tlog.Hash) {
	for _, text := range texts {
		hashes = append(hashes, must(tlog.ParseHash(text)))
	}
	return hashes
}

func main() {
	var keys struct{ Keys []struct{ Vkey string } }
	var entry struct{ Log struct{ Raw string } }
	var consistency struct {
		Proof      []string
		Checkpoint string
	}
	for name, into := range map[string]any{"keys": &keys, "entry": &entry, "consistency": &consistency} {
		must(0, json.Unmarshal([]byte(read(name)), into))
	}
	vkey := keys.Keys[0].Vkey
	earlier, later := tree(vkey, read("checkpoint")), tree(vkey, consistency.Checkpoint)
	must(0, tlog.CheckTree(hashes(consistency.Proof), later.N, later.Hash, earlier.N, earlier.Hash))

	proof, checkpoint, _ := strings.Cut(read("proof"), "\n\n")
	lines, at := strings.Split(proof, "\n"), tree(vkey, checkpoint)
	var index int64
	must(fmt.Sscanf(lines[1], "index %d", &index))
	record := hashes(lines[2:])
	must(0, tlog.CheckRecord(record, at.N, at.Hash, index, tlog.RecordHash([]byte(entry.Log.Raw))))
	if tlog.CheckRecord(record, at.N, at.Hash, index, tlog.RecordHash([]byte(entry.Log.Raw+" "))) == nil {
		log.Fatal("an altered entry is proved as well")
	}
	fmt.Printf("Go verified: entry %d of %d, and that %d leaves continue %d\n", index, at.N, later.N, earlier.N)
}
