package docs

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"weir/configs"
)

var keyPath = regexp.MustCompile(`^(log|mqtt|http|devices|logging|shutdown)\.[a-z_.]+$`)

// TestKeysThatPagesNameExist holds dotted keys in backquotes against the config.
func TestKeysThatPagesNameExist(t *testing.T) {
	known := map[string]bool{}
	walkKeys(reflect.TypeFor[configs.Config](), "", known)
	found := 0
	for _, p := range pages(t) {
		for n, l := range p.prose() {
			for _, s := range spans(l) {
				key, _, _ := strings.Cut(s, ":")
				if !keyPath.MatchString(key) {
					continue
				}
				found++
				if !known[key] {
					t.Errorf("%s:%d: the config has no key %s", p.name, n, key)
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d keys were found: does the test still read the pages?", found)
	}
}

// walkKeys notes the dotted keys of a config's type.
func walkKeys(typ reflect.Type, prefix string, known map[string]bool) {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct {
		return
	}
	for f := range typ.NumField() {
		tag, _, _ := strings.Cut(typ.Field(f).Tag.Get("yaml"), ",")
		if tag == "" || tag == "-" {
			continue
		}
		known[prefix+tag] = true
		walkKeys(typ.Field(f).Type, prefix+tag+".", known)
	}
}
