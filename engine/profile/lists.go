package profile

import (
	"fmt"
	"reflect"
)

// listFunctions work on lists and maps.
func listFunctions() []function {
	return []function{
		of2("KeyExists", func(key string, in map[string]any) bool { _, ok := in[key]; return ok }),
		{name: "Flatten", types: []any{(func(...any) []any)(nil)}, plain: func(a ...any) (any, error) {
			return flatten([]any{}, reflect.ValueOf(a)), nil
		}},
		{name: "Distinct", types: []any{(func(any) []any)(nil)}, plain: func(a ...any) (any, error) {
			v := reflect.ValueOf(a[0])
			if v.Kind() != reflect.Slice && v.Kind() != reflect.Array {
				return nil, nil
			}
			list := make([]any, v.Len())
			for i := range list {
				list[i] = v.Index(i).Interface()
			}
			return distinct(list), nil
		}},
		{name: "FlattenDistinct", types: []any{(func(...any) []any)(nil)}, plain: func(a ...any) (any, error) {
			return distinct(flatten(nil, reflect.ValueOf(a))), nil
		}},
	}
}

// flatten appends the elements of v, lists within lists resolved. How deep
// lists may lie in each other is bounded by what makes them.
func flatten(dst []any, v reflect.Value) []any {
	if v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Invalid:
		return append(dst, nil)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			dst = flatten(dst, v.Index(i))
		}
		return dst
	}
	return append(dst, v.Interface())
}

// distinct keeps the first of equal elements. Elements that cannot be keys,
// such as maps, are compared by how they are written. The order stays.
func distinct(list []any) []any {
	seen := make(map[any]bool, len(list))
	kept := []any{}
	for _, x := range list {
		key := x
		if v := reflect.ValueOf(x); v.IsValid() && !v.Comparable() {
			key = [2]string{"written", fmt.Sprint(x)}
		}
		if !seen[key] {
			seen[key] = true
			kept = append(kept, x)
		}
	}
	return kept
}
