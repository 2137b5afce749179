package verbs

import (
	"errors"
	"os"
)

// exchangeInSteps is exchange where one step is not to be had. Between the
// steps nothing is in the place of b; a crash there leaves both under their
// other names, and the next start says that the store is missing.
func exchangeInSteps(a, b string) error {
	aside := b + ".aside"
	if err := os.Rename(b, aside); err != nil {
		return err
	}
	if err := os.Rename(a, b); err != nil {
		return errors.Join(err, os.Rename(aside, b))
	}
	return os.Rename(aside, a)
}
