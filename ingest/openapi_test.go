package ingest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/ingest/events"
)

type openAPISchema struct {
	Enum       []string                 `yaml:"enum"`
	Examples   []string                 `yaml:"examples"`
	Properties map[string]openAPISchema `yaml:"properties"`
}

// What the OpenAPI document says is what the routes take: its types and reasons
// are those of the decoder, and every example of it is accepted.
func TestOpenAPIDescribesTheRoutes(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			RequestBody struct {
				Content map[string]struct {
					Examples map[string]struct {
						Value any `yaml:"value"`
					} `yaml:"examples"`
				} `yaml:"content"`
			} `yaml:"requestBody"`
		} `yaml:"paths"`
		Schemas map[string]openAPISchema `yaml:"schemas"`
	}
	require.NoError(t, yaml.Unmarshal(OpenAPI, &doc))

	var types []string
	for _, kind := range events.Types {
		types = append(types, events.TypePrefix+kind)
	}
	require.ElementsMatch(t, types, doc.Schemas["CallEvent"].Properties["type"].Enum)
	require.ElementsMatch(t, events.Reasons, doc.Schemas["CallEventData"].Properties["reason"].Examples)

	r := newRig(t)
	posted := 0
	for path, methods := range doc.Paths {
		for media, content := range methods["post"].RequestBody.Content {
			for name, example := range content.Examples {
				body, err := json.Marshal(example.Value)
				require.NoError(t, err)
				req, err := http.NewRequest(http.MethodPost, r.web.URL+path, bytes.NewReader(body))
				require.NoError(t, err)
				req.Header.Set("Authorization", "Bearer k")
				req.Header.Set("Content-Type", media)
				res, err := http.DefaultClient.Do(req)
				require.NoError(t, err)
				answer, err := io.ReadAll(res.Body)
				require.NoError(t, err)
				require.NoError(t, res.Body.Close())
				require.Equal(t, http.StatusAccepted, res.StatusCode, "%s of %s: %s", name, path, answer)
				var receipt Receipt
				require.NoError(t, json.Unmarshal(answer, &receipt))
				require.Empty(t, receipt.Rejected)
				posted++
			}
		}
	}
	require.Positive(t, posted)
}
