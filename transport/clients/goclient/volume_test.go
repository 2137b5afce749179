package goclient

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crowdsecurity/crowdsec/pkg/apiclient"
	"github.com/crowdsecurity/crowdsec/pkg/models"
)

// TestVolume: eight log processors on two machines push 1 000 alerts in batches of chance size, some of
// them long enough to travel compressed, while a stream bouncer polls; it hears of each attacker once.
func TestVolume(t *testing.T) {
	t.Parallel()
	const (
		processors = 8
		each       = 125
	)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	clients := make([]*apiclient.ApiClient, processors)
	for n := range clients {
		clients[n] = newLogProcessor(t, n%2)
	}
	s := newStream(t, 1)
	s.next(t)

	var busy sync.WaitGroup
	for n, lp := range clients {
		busy.Go(func() { pushAll(t, lp, n, each, rand.New(rand.NewPCG(seed, uint64(n)))) })
	}
	ours := func() (count int) {
		for value := range s.added {
			if strings.HasPrefix(value, "198.19.") {
				count++
			}
		}
		return count
	}
	s.until(t, "1 000 attackers are announced", func() bool { return t.Failed() || ours() >= processors*each })
	busy.Wait()
	for range 3 { // nothing may be said twice afterwards
		s.next(t)
	}
	if ours() != processors*each {
		t.Errorf("%d attackers were announced, want %d", ours(), processors*each)
	}
	wrong := 0
	for n := range processors {
		for i := range each {
			value := attacker(n, i)
			if s.added[value] == 1 && s.deleted[value] == 0 {
				continue
			}
			if wrong++; wrong <= 10 {
				t.Errorf("%s was added %d times and deleted %d times", value, s.added[value], s.deleted[value])
			}
		}
	}
	t.Logf("%d of %d attackers were not announced exactly once", wrong, processors*each)
}

// attacker is an address of the range set aside for measurements.
func attacker(processor, i int) string { return fmt.Sprintf("198.19.%d.%d", processor, i+1) }

// pushAll sends the alerts of one log processor; as many ids have to come back as alerts went.
func pushAll(t *testing.T, lp *apiclient.ApiClient, n, each int, random *rand.Rand) {
	for i := 0; i < each; {
		var batch models.AddAlertsRequest
		for range min(1+random.IntN(40), each-i) {
			batch = append(batch, report(attacker(n, i), "goclient/volume"))
			i++
		}
		ids, _, err := lp.Alerts.Add(t.Context(), batch)
		if err != nil || len(*ids) != len(batch) {
			t.Errorf("log processor %d pushed %d alerts: %v, %v", n, len(batch), ids, err)
			return
		}
	}
}
