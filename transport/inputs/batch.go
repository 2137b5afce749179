package inputs

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// BatchName names what an import stores: after its source, which no two at the same
// second share by chance.
func BatchName(source string, now time.Time) string {
	plain := strings.Map(func(r rune) rune {
		if r == '.' || r == '_' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, source)
	return fmt.Sprintf("%s-%s-%06x", strings.TrimLeft(plain[:min(len(plain), 64)], "-"), now.UTC().Format("20060102T150405Z"), rand.Uint32N(1<<24))
}
