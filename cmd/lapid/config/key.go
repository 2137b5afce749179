package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"lapid/transport/inputs"
)

// Value finds what a key names, as JSON has it (a section is a map by the names of the
// file, a list is never nil): nil when it is known and not given. Secrets are not hidden.
// Unknown keys are an error with what was probably meant. The credentials file counts
// as a section of its own below api.client.
func (s *Setup) Value(key string) (any, error) {
	switch key {
	case "configuration_file":
		return s.File, nil
	case "store":
		return s.Store(), nil
	case "admin_socket":
		return s.Socket(), nil
	}
	parts := strings.Split(key, ".")
	if parts[0] == "Config" {
		parts = parts[1:]
	}
	v := reflect.ValueOf(&s.Config).Elem()
	for i, part := range parts {
		for v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return nil, nil
			}
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return nil, fmt.Errorf("unknown key '%s': %s has no parts", key, strings.Join(parts[:i], "."))
		}
		if v.Type() == reflect.TypeFor[APIClient]() && plainName(part) == "credentials" {
			c, err := s.Credentials()
			if err != nil {
				return nil, err
			}
			v = reflect.ValueOf(c).Elem()
			continue
		}
		next, err := fieldNamed(v, part)
		if err != nil {
			return nil, fmt.Errorf("unknown key '%s': %w", key, err)
		}
		v = next
	}
	return plain(v), nil
}

// fieldNamed finds the field that one part of a key names, by its name in
// the file or by the reference's. The error names the nearest key, or else
// all.
func fieldNamed(v reflect.Value, part string) (reflect.Value, error) {
	name := plainName(part)
	if other, ok := referenceNames[name]; ok {
		name = plainName(other)
	}
	for i := range v.NumField() {
		if tag := v.Type().Field(i).Tag.Get("yaml"); tag != "" && plainName(tag) == name {
			return v.Field(i), nil
		}
	}
	keys := keysOf(v.Type())
	if near := inputs.Nearest(part, keys); near != "" {
		return v, fmt.Errorf("did you mean '%s'?", near)
	}
	if part == "" {
		return v, errors.New("a part of it is empty")
	}
	return v, fmt.Errorf("there are %s", strings.Join(keys, ", "))
}

// plainName is a name without what the two spellings differ in. Case and
// underscores.
func plainName(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "")) }

// referenceNames are the reference's names for keys that the file calls
// otherwise.
var referenceNames = map[string]string{
	"crowdsec": "crowdsec_service", "credentialsfilepath": "credentials_path", "hubindexfile": "index_path",
	"simulationfilepath": "simulation_path", "notificationdir": "notification_dir", "logdir": "log_dir",
	"onlineclient": "online_client", "autoregister": "auto_registration", "consoleconfigpath": "console_path",
}

// plain is a value as JSON and people know it, by the names of the file.
// Sections are maps, lists are never null, what was not given is nil.
func plain(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return plain(v.Elem())
	case reflect.Struct:
		out := map[string]any{}
		for i := range v.NumField() {
			if tag := v.Type().Field(i).Tag.Get("yaml"); tag != "" {
				out[tag] = plain(v.Field(i))
			}
		}
		return out
	case reflect.Slice:
		out := []any{}
		for i := range v.Len() {
			out = append(out, plain(v.Index(i)))
		}
		return out
	}
	return v.Interface()
}
