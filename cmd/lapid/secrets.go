package main

import (
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/crypto/bcrypt"
)

// hashPassword is the form in which a machine's password is kept. bcrypt, at
// its default cost: passwords are chosen by people and must be slow to
// guess.
func hashPassword(password string) ([]byte, error) {
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return nil, fmt.Errorf("unable to hash the password: %w", err)
	}
	return h, nil
}

// hashKey is the form in which an API key is kept. SHA-512 without salt: a generated
// key has 256 bits of chance, and each is looked up by its hash at every request.
func hashKey(key string) []byte {
	h := sha512.Sum512([]byte(key))
	return h[:]
}

// generatedKey is an API key: 32 bytes of chance in base64, 43 characters.
func generatedKey() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails, see its documentation
	return base64.RawStdEncoding.EncodeToString(b)
}

// credentialsText is the file by which a log processor or cscli logs in.
// It is YAML, whatever the values hold.
func credentialsText(url, login, password string) string {
	return fmt.Sprintf("url: %s\nlogin: %s\npassword: %s\n", yamlScalar(url), yamlScalar(login), yamlScalar(password))
}

// writeSecret writes a file that only its owner may read: first under another
// name, so that nobody ever finds half of it. What is there already and is no
// ordinary file, or cannot be replaced because it is mounted, is written into.
// The file is synced, its folder is not: who needs the name to be durable syncs that
// (syncFolder).
func writeSecret(file string, text []byte) error {
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

// writeInto writes into what is there: a pipe, a device, a file that is mounted. That
// is not all or nothing.
func writeInto(file string, text []byte) error {
	f, err := openPlain(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
