package ingest

import _ "embed"

// OpenAPI describes the routes of HTTPHandler: paths and schemas for an OpenAPI
// 3.1 document, as YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte
