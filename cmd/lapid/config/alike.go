package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"path/filepath"
)

// What must be the same at all nodes of a cluster, as a difference is told. Never changed: nodes of different versions compare them.
const (
	AlikeProfiles      = "profiles"
	AlikeNotifications = "notifications"
	AlikeCentral       = "credentials of the Central API"
	AlikeSecret        = "CS_LAPI_SECRET"
)

// Alike is the SHA-256 of each of them as it is on the disk and in the environment now. A file that is not there, or cannot
// be read, is one without content: whoever needs it says so. It is secret: what little a hash says can be guessed.
func (s *Setup) Alike() map[string][]byte {
	notifications, _ := notificationFiles(s.NotificationDir()) // sorted
	var central []string
	if a := s.Config.API.Server; a != nil && a.Online != nil {
		central = []string{a.Online.Credentials}
	}
	secret, _ := s.Secret() // checked when it was read
	sum := sha256.Sum256(secret)
	return map[string][]byte{
		AlikeProfiles: sumOf(s.ProfileFiles(), false), AlikeNotifications: sumOf(notifications, true), AlikeCentral: sumOf(central, false), AlikeSecret: sum[:],
	}
}

// sumOf hashes files that have content one after the other, each with its length, and with its name where that means something.
func sumOf(files []string, named bool) []byte {
	h := sha256.New()
	for _, file := range files {
		text, err := readPlain(file, maxConfigSize)
		if err != nil || len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		if named {
			text = append([]byte(filepath.Base(file)+"\x00"), text...)
		}
		_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(text)))) // never fails
		_, _ = h.Write(text)
	}
	return h.Sum(nil)
}
