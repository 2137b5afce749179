package program

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"time"

	"lapid/cmd/lapid/config"
)

func TestCertificateDates(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Now()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(40 * day)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &config.Setup{Config: config.Config{API: config.API{Server: &config.APIServer{TLS: &config.TLS{
		CertFile: write(t, dir, "cert", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))),
		KeyFile:  write(t, dir, "key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))),
	}}}}}
	for want, at := range map[string]time.Time{
		"": now.Add(20 * day), "has expired at": now.Add(41 * day), "is not valid before": now.Add(-2 * time.Hour), "expires at": now.Add(30 * day),
	} {
		var out bytes.Buffer
		bad, err := checkCertificates(s, slog.New(slog.NewTextHandler(&out, nil)), at)
		refused := strings.Contains(want, "has") || strings.Contains(want, "before")
		if bad != nil {
			out.WriteString(bad.Error())
		}
		if err != nil || want == "" && out.Len() > 0 || strings.Count(out.String(), want) != 1 && want != "" || (bad != nil) != refused {
			t.Errorf("%q: %v, %v, %s", want, bad, err, &out)
		}
	}
}
