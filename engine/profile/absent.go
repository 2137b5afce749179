package profile

import (
	"errors"
	"log/slog"
	"sync"
)

// absentFunctions are those whose data or peers a server without log
// processing does not have. Profiles that name them load; what they give is
// nothing, and the log says so.
func absentFunctions(o *Options) []function {
	list := []function{
		ask1("File", func(e *evaluation, file string) ([]string, error) {
			e.noFile(file, "string")
			return []string{}, nil
		}),
		ask2("RegexpInFile", func(e *evaluation, _, file string) (bool, error) {
			e.noFile(file, "regexp")
			return false, nil
		}),
		ask1("FileMap", func(e *evaluation, file string) ([]map[string]string, error) {
			e.noFile(file, "map")
			return []map[string]string{}, nil
		}),
		ask2("LookupFile", func(e *evaluation, _, file string) (string, error) {
			e.noFile(file, "map")
			return "", nil
		}),
		ask2("GetFromStash", func(e *evaluation, cache, _ string) (string, error) {
			e.log(slog.LevelWarn, "Cache "+clip(cache)+" not found")
			return "", nil
		}),
		{name: "SetInStash", types: []any{(func(string, string, string, any) any)(nil)},
			asking: func(e *evaluation, a []any) (any, error) {
				e.log(slog.LevelWarn, "Cache "+clip(a[0].(string))+" not found")
				return nil, nil
			}},
		of1("GeoIPEnrich", func(string) any { return nil }),
		of1("GeoIPASNEnrich", func(string) any { return nil }),
		of1("GeoIPRangeEnrich", func(string) any { return nil }),
		of1("IPToCountry", func(string) string { return "" }),
		unable("CrowdsecCTI", errNoCTI, (func(string) any)(nil)),
		unable("HTTPGet", errNoHTTP, (func(string) any)(nil)),
		unable("HTTPHead", errNoHTTP, (func(string) any)(nil)),
		unable("HTTPPost", errNoHTTP, (func(string, string, string) any)(nil)),
		unable("HTTPRequest", errNoHTTP, (func(string, string, map[string]any, string) any)(nil)),
	}
	return append(list,
		unknowing("LibInjectionIsSQLI", false, o.Logger, (func(string) bool)(nil)),
		unknowing("LibInjectionIsXSS", false, o.Logger, (func(string) bool)(nil)),
		unknowing("MatchKnownBot", false, o.Logger, (func(string, string, string, ...string) bool)(nil)),
		unknowing("JA4H", "", o.Logger, (func(any) string)(nil)),
	)
}

// Errors of functions that would ask another service. A filter that calls one fails,
// as it would in the reference without the service.
var (
	errNoCTI  = errors.New("cti is disabled")
	errNoHTTP = errors.New("rules may not call out over HTTP")
)

// noFile reports a data file that a log processor would have.
func (e *evaluation) noFile(file, kind string) {
	e.log(slog.LevelError, "file not found: the server holds no data files", "file", clip(file), "type", kind)
}

// unable is a function that always fails. The error is a filter's, which
// on_error deals with.
func unable(name string, err error, signature any) function {
	return function{name: name, types: []any{signature}, plain: func(...any) (any, error) { return nil, err }}
}

// unknowing is a function that always gives the same, with one error in the
// log for the life of a set.
func unknowing(name string, answer any, log *slog.Logger, signature any) function {
	var once sync.Once
	return function{name: name, types: []any{signature}, plain: func(...any) (any, error) {
		once.Do(func() {
			log.Error("a profile calls a function that the server does not have", "function", name, "gives", answer)
		})
		return answer, nil
	}}
}
