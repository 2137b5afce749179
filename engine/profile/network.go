package profile

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// networkFunctions know addresses, names and places.
func networkFunctions(o *Options) []function {
	return []function{
		of2("IpInRange", inRange),
		ask2("IpToRange", toRange),
		of1("IsIP", func(s string) bool { return net.ParseIP(s) != nil }),
		of1("IsIPV4", func(s string) bool { ip := net.ParseIP(s); return ip != nil && ip.To4() != nil }),
		of1("IsIPV6", func(s string) bool { ip := net.ParseIP(s); return ip != nil && ip.To4() == nil }),
		ask1("LookupHost", func(e *evaluation, host string) ([]string, error) { return lookup(e, o, host) }),
		{name: "Distance", types: []any{(func(string, string, string, string) float64)(nil)}, plain: distance},
	}
}

// inRange is false when either text is not what it should be. An IPv4
// address and its IPv6 form are the same.
func inRange(address, cidr string) bool {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Zone() != "" {
		return false
	}
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return false
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Contains(a.Unmap())
}

// toRange is the range of the given length ("/24" or "24") around an
// address, "" with an error in the log when there is none. The address may
// be IPv6; the length must fit it.
func toRange(e *evaluation, address, length string) (string, error) {
	bits, err := strconv.Atoi(strings.TrimPrefix(length, "/"))
	if err != nil {
		e.log(slog.LevelError, "IpToRange: not a prefix length", "length", clip(length))
		return "", nil
	}
	a, err := netip.ParseAddr(address)
	if err != nil || a.Zone() != "" {
		e.log(slog.LevelError, "IpToRange: not an address", "address", clip(address))
		return "", nil
	}
	p, err := a.Unmap().Prefix(bits)
	if err != nil {
		e.log(slog.LevelError, "IpToRange: no such range", "address", clip(address), "length", bits)
		return "", nil
	}
	return p.String(), nil
}

// lookup resolves a name. An unknown name, or a resolver that does not
// answer in time, is an empty list and an error in the log. It holds the
// judging up, two seconds at most, so a rule that calls it has a time limit.
func lookup(e *evaluation, o *Options, host string) ([]string, error) {
	if e.late != nil && e.late.Load() {
		return nil, errLate
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupLimit)
	defer cancel()
	addresses, err := o.Resolve(ctx, host)
	if err != nil {
		e.log(slog.LevelError, "Failed to lookup host", "host", clip(host), "error", clip(err.Error()))
		return []string{}, nil
	}
	return addresses, nil
}

// distance is the way over ground in kilometres between two places given in
// degrees. A place at 0,0 is taken for an unknown one: the distance is 0.
func distance(a ...any) (any, error) {
	var degrees [4]float64
	for i, name := range [4]string{"lat1", "long1", "lat2", "long2"} {
		f, err := strconv.ParseFloat(a[i].(string), 64)
		if err != nil {
			return 0.0, fmt.Errorf("%s is not a float : %w", name, err)
		}
		degrees[i] = f
	}
	if (degrees[0] == 0 && degrees[1] == 0) || (degrees[2] == 0 && degrees[3] == 0) {
		return 0.0, nil
	}
	const earth, radian = 6371.0, math.Pi / 180
	lat1, lat2 := degrees[0]*radian, degrees[2]*radian
	sinLat := math.Sin((lat2 - lat1) / 2)
	sinLong := math.Sin((degrees[3] - degrees[1]) * radian / 2)
	h := sinLat*sinLat + math.Cos(lat1)*math.Cos(lat2)*sinLong*sinLong
	return 2 * earth * math.Asin(math.Min(1, math.Sqrt(h))), nil
}
