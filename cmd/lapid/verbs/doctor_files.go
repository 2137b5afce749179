package verbs

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lapid/cmd/lapid/backups"
	"lapid/cmd/lapid/datadir"
)

// fewDays is when a certificate should have been replaced.
const fewDays = 14 * 24 * time.Hour

// certificates looks at those that clients and operators are shown.
func (v *visit) certificates() {
	const check = "certificates"
	shown := map[string]bool{}
	look := func(cert, key, authorities string) {
		if cert != "" && !shown[cert] {
			shown[cert] = true
			v.certificate(check, cert, key, authorities)
		}
	}
	if a := v.setup.Config.API.Server; a != nil && a.TLS != nil {
		look(a.TLS.CertFile, a.TLS.KeyFile, a.TLS.CAFile)
	}
	c := &v.setup.Own.Console
	look(c.CertFile, c.KeyFile, c.CAFile)
	if len(shown) == 0 {
		v.well(check, "none is configured: the Local API speaks plain HTTP")
	}
}

// certificate looks at one file: whether its key fits, how long it is good, whether the chain is whole.
func (v *visit) certificate(check, cert, key, authorities string) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		state := isBroken
		if errors.Is(err, fs.ErrPermission) {
			state = isUnknown
		}
		v.note(state, check, fmt.Sprintf("%s with the key in %s: %v", cert, key, datadir.DeniedFile(err)), "give the key that belongs to the certificate")
		return
	}
	leaf := pair.Leaf
	left := leaf.NotAfter.Sub(v.now)
	found := fmt.Sprintf("%s: %s, good until %s (%s)", cert, named(leaf), leaf.NotAfter.UTC().Format(time.DateOnly), spanOf(max(left, 0)))
	switch {
	case left <= 0 || v.now.Before(leaf.NotBefore):
		v.broken(check, found, "clients refuse it: replace it; the server takes the new one by itself")
		return
	case left < fewDays:
		v.advise(check, found, "replace it before; the server takes the new one by itself")
		return
	}
	if err := chain(&pair, authorities, v.now); err != nil {
		v.advise(check, found+"; "+err.Error(), "put the certificates of the authorities between it and its root behind it in the file; clients must trust that root")
		return
	}
	v.well(check, found)
}

// named is who a certificate is for.
func named(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return strings.Join(c.DNSNames, ", ")
	}
	return c.Subject.String()
}

// chain tells whether the certificates of a file lead to an authority that is known here: the system's, those of the
// configuration, or the certificate itself, if it has signed itself.
func chain(pair *tls.Certificate, authorities string, now time.Time) error {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	between := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(c)
		}
	}
	if text, err := os.ReadFile(authorities); err == nil {
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			if c, err := x509.ParseCertificate(block.Bytes); err == nil {
				roots.AddCert(c)
			}
		}
	}
	if string(pair.Leaf.RawIssuer) == string(pair.Leaf.RawSubject) {
		roots.AddCert(pair.Leaf)
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}

// secrets looks who may read the files that hold some.
func (v *visit) secrets() {
	const check = "files"
	s := v.setup
	files := []string{}
	if s.File != "" {
		files = append(files, s.File, filepath.Join(filepath.Dir(s.File), "lapid.yaml"))
	}
	if c := s.Config.API.Client; c != nil {
		files = append(files, c.Credentials)
	}
	if a := s.Config.API.Server; a != nil {
		if a.Online != nil {
			files = append(files, a.Online.Credentials)
		}
		if a.TLS != nil {
			files = append(files, a.TLS.KeyFile)
		}
		files = append(files, a.ProfilesPath)
	}
	files = append(files, s.Own.Console.KeyFile)
	if dir := s.NotificationDir(); dir != "" {
		found, _ := filepath.Glob(filepath.Join(dir, "*.yaml")) // a folder with signs of a pattern in its name has none
		files = append(files, found...)
	}
	seen, sound := 0, len(v.found)
	for _, file := range files {
		info, err := os.Stat(file)
		if file == "" || err != nil {
			continue // who needs it says that it is missing
		}
		seen++
		mode := info.Mode().Perm()
		// What config.yaml and its like say is no secret on every machine; a key and a password are.
		secret := file != s.File && filepath.Base(file) != "lapid.yaml" && (s.Config.API.Server == nil || file != s.Config.API.Server.ProfilesPath)
		switch {
		case mode&0o002 != 0:
			v.broken(check, fmt.Sprintf("%s (%04o): everybody may change it", file, mode), "chmod o-w "+file)
		case secret && mode&0o004 != 0:
			v.advise(check, fmt.Sprintf("%s (%04o): everybody may read it, and it holds secrets", file, mode), "chmod o-r "+file)
		}
	}
	if len(v.found) == sound {
		v.well(check, fmt.Sprintf("%d files of the configuration: none is for everybody", seen))
	}
}

// oldBackup is when another is due that people, or a timer of theirs, make.
const oldBackup = 7 * 24 * time.Hour

// usualBackups is where they are looked for when nobody says where.
const usualBackups = "/var/backups/lapid"

// backupsOf is the folder of backups, and after how long another is due in it; made says that the server makes them by itself.
func (v *visit) backupsOf() (dir string, due time.Duration, made bool) {
	own := &v.setup.Own.Backup
	if made = own.Dir != "" && (v.backups == "" || filepath.Clean(v.backups) == filepath.Clean(own.Dir)); made {
		every, _, _ := own.Plan() // it was checked when it was read
		return own.Dir, 2 * every, true
	}
	return cmp.Or(v.backups, usualBackups), oldBackup, false
}

// oldBackups looks for the newest backup in a folder.
func (v *visit) oldBackups() {
	const check = "backups"
	if v.backups == "none" {
		return
	}
	dir, due, made := v.backupsOf()
	write := "lapid backup " + dir + " writes one, beside the running server too"
	if made {
		write = "the server makes them by itself (backup in lapid.yaml) while it runs: lapid ready and its log say why it did not; " + write
	}
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrPermission):
		v.note(isUnknown, check, datadir.DeniedFile(err).Error(), "run this as the owner of that folder, or as root")
		return
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		v.note(isUnknown, check, err.Error(), "--backups FOLDER looks elsewhere")
		return
	}
	var newest fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && strings.HasSuffix(e.Name(), backups.Suffix) && (newest == nil || info.ModTime().After(newest.ModTime())) {
			newest = info
		}
	}
	if newest == nil {
		v.advise(check, "there is none in "+dir, write+"; --backups FOLDER looks elsewhere")
		return
	}
	age := v.now.Sub(newest.ModTime())
	found := fmt.Sprintf("the newest in %s is %s old", dir, spanOf(max(age, 0)))
	if age > due {
		v.advise(check, found, write+"; once a day is usual")
		return
	}
	v.well(check, found)
}
