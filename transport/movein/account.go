package movein

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Account is what came of taking over a database.
type Account struct {
	At time.Time `json:"at"`
	*Tally
	Changes Changes `json:"changes"`
}

// Keep writes the account into a file, for who asks. Nothing of a store depends on it.
func (a *Account) Keep(path string) error {
	text, err := json.MarshalIndent(a, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// ReadAccount reads what Keep wrote.
func ReadAccount(path string) (*Account, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	a := &Account{}
	if err = json.Unmarshal(text, a); err != nil || a.Tally == nil {
		return nil, fmt.Errorf("%s cannot be read: %w", path, err)
	}
	return a, nil
}
