package datadir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// SyncFolder makes the names in a folder durable.
func SyncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// WriteSecret writes a file that only its owner may read: first under another
// name, so that no reader ever finds half of it. What is there already and is no
// ordinary file, or cannot be replaced because it is mounted, is written into.
// The file is synced, its folder is not: where the name must be durable, SyncFolder
// follows.
func WriteSecret(file string, text []byte) error {
	folder, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer folder.Close()
	name := filepath.Base(file)
	if info, err := folder.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return writeInto(file, text)
	}
	tmp := "." + name + "." + rand.Text()
	f, err := folder.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = folder.Remove(tmp) }() // gone already when all went well
	if _, err = f.Write(text); err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := folder.Rename(tmp, name); err != nil {
		return writeInto(file, text)
	}
	return nil
}

// CheckSecret tells whether WriteSecret could write a file, without touching what is there.
func CheckSecret(file string) error {
	folder, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer folder.Close()
	name := filepath.Base(file)
	if info, err := folder.Lstat(name); err == nil && !info.Mode().IsRegular() {
		if info.IsDir() {
			return fmt.Errorf("%s is a directory", file)
		}
		return nil
	}
	tmp := "." + name + "." + rand.Text()
	f, err := folder.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), folder.Remove(tmp))
}

// writeInto writes into what is there: a pipe, a device, a file that is mounted. That
// is not all or nothing.
func writeInto(file string, text []byte) error {
	f, err := OpenPlain(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
