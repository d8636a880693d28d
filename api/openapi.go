package api

import (
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

const schemaPrefix = "#/components/schemas/"

// describe completes the description of the routes by what the router cannot
// know: which objects may be null, and that errors are a Problem.
func describe(doc *huma.OpenAPI) {
	schemas := doc.Components.Schemas
	problem := schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")
	for _, path := range doc.Paths {
		for _, o := range []*huma.Operation{path.Get, path.Post, path.Put, path.Patch, path.Delete} {
			if o == nil {
				continue
			}
			for _, answer := range o.Responses {
				if c := answer.Content["application/problem+json"]; c != nil {
					c.Schema = problem
				}
			}
		}
	}
	all := schemas.Map()
	delete(all, "ErrorModel")
	delete(all, "ErrorDetail")
	for name, s := range all {
		if t := schemas.TypeFromRef(schemaPrefix + name); t != nil && t.Kind() == reflect.Struct {
			mayBeNull(s, t)
		}
	}
}

// mayBeNull marks those properties of a schema that are pointers to objects in
// the type it was made of. Those that are left out when nil never are null.
func mayBeNull(s *huma.Schema, t reflect.Type) {
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		p := s.Properties[name]
		if f.Type.Kind() != reflect.Pointer || p == nil || p.Ref == "" || strings.Contains(options, "omitempty") {
			continue
		}
		s.Properties[name] = &huma.Schema{
			Description: f.Tag.Get("doc"), OneOf: []*huma.Schema{{Ref: p.Ref}, {Type: "null"}},
		}
	}
}
