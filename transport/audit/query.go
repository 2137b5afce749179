package audit

import (
	"fmt"
	"strconv"
	"strings"
)

// What people write to ask for rows, on the command line and in the API.

// Who reads an actor: a name, a kind and a colon, or both.
func Who(text string) (kind, name string) {
	if kind, name, ok := strings.Cut(text, ":"); ok {
		return kind, name
	}
	return "", text
}

// Expected reads NUMBER:HASH of rows that were kept, as a verification prints them.
func Expected(list []string) (map[uint64]string, error) {
	hashes := map[uint64]string{}
	for _, text := range list {
		number, hash, _ := strings.Cut(text, ":")
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil || n == 0 || len(hash) != 64 {
			return nil, fmt.Errorf("%.128s: give NUMBER:HASH as audit verify prints them", text)
		}
		hashes[n] = strings.ToLower(hash)
	}
	return hashes, nil
}
