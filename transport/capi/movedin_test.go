package capi

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"lapid/engine"
)

// TestGoesOnWhereAnotherServerWas: after a database was taken over, with running decisions of
// a list, the other server's token is used and the list is asked for conditionally; what
// this server knows itself counts before that.
func TestGoesOnWhereAnotherServerWas(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.stream = f.links([3]string{"a", "/lists/a", "ban"})
	f.lists["/lists/a"] = "198.19.0.1\r\n198.19.0.2"
	f.mustPull(f.client(nil))
	var kept token
	if err := json.Unmarshal(f.rig.View().Secret(tokenSecret), &kept); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(0, f.rig.Engine.Now()).UTC()
	items, err := json.Marshal(map[string]string{"apic_token": kept.Text, "papi:last_pull": at.Format(time.RFC3339Nano), "blocklist:a:last_pull": at.Format(http.TimeFormat), "blocklist:b:last_pull": "never"})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{movedInSecret: string(items), tokenSecret: "", stateSecret: ""} { // as if there had been no pull here
		if err := f.rig.Engine.KeepSecret(t.Context(), name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	f.rig.Restart()
	f.mustPull(f.client(nil))
	if got := f.running(engine.OriginLists, "a"); len(got) != 2 {
		t.Errorf("%q run", got)
	}
	asked := f.asked("/lists/a")
	if len(asked) != 2 || asked[1].since == "" {
		t.Errorf("asked for the list: %+v", asked)
	}
	if f.logins != 1 {
		t.Errorf("%d logins", f.logins)
	}
	if since, ok := movedSince(f.rig.Engine); !ok || since != at.UnixMilli() {
		t.Errorf("orders since %d, %v", since, ok)
	}
	if since := f.client(nil).loadSince(); since != at.UnixMilli()/1000*1000 {
		t.Errorf("orders are asked for since %d", since)
	}
	if err := f.rig.Engine.KeepSecret(t.Context(), movedInSecret, []byte(`{"papi:last_pull":"0001-01-01T00:00:00Z","apic_token":"x"}`)); err != nil {
		t.Fatal(err)
	}
	if _, ok := movedSince(f.rig.Engine); ok {
		t.Error("orders since the year 1")
	}
}
