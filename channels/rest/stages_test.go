package rest_test

import (
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/channels/rest"
	"github.com/tandem-sync/tandem/fault"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

func TestStages(t *testing.T) {
	t.Parallel()
	up := tt.New(t, nil)
	selfSigned, _ := tt.NewTLS(t, tt.Certificate{}, nil)
	for base, want := range map[string]string{up.URL: "name connect", selfSigned.URL: "name connect tls!tls"} {
		ch, err := rest.Type{}.Open(t.Context(), settingsFor(base, `{"list":{"path":"/x"}}`))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ch.Close() })
		stager, ok := ch.(channels.Stager)
		if !ok {
			t.Fatal("the channel cannot tell its stages")
		}
		var got []string
		for _, s := range stager.Stages(t.Context()) {
			name := s.Name
			if s.Err != nil {
				name += "!" + fault.CodeOf(s.Err)
			}
			got = append(got, name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%v, want %s", got, want)
		}
	}
}
